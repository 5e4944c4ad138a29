import { afterAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
installation.worker({ workspaceId });
const { run, text, json, list } = createCommands(installation.url, workspaceId);

interface JsonTurn {
  readonly runId: string;
  readonly status: string;
}

async function say(sessionId: string, handler: string, input: string): Promise<string> {
  const outcome = await run("run", handler, "--session", sessionId, "--input", input, "--wait", "--json");
  return (JSON.parse(outcome.stdout) as JsonTurn).runId;
}

async function ended(sessionId: string, count: number): Promise<void> {
  await until(
    async () => {
      const turns = await list<JsonTurn>("sessions", "history", sessionId);
      return turns.length === count && turns.every(({ status }) => !/QUEUED|RUNNING/.test(status));
    },
    { what: `the history to show ${count} turns` },
  );
}

test("history tells what was asked and answered, what failed, and what is summarised", async () => {
  const first = await say("sess_desk", "echo", '{"text":"Are you there?\\nReally?"}');
  const second = await say("sess_desk", "flaky", '{"failures":-1}');
  await ended("sess_desk", 2);
  const summary = { sessionId: "sess_desk", summary: "They greeted.", throughRunId: first, turnCount: 1 };
  const client = installation.client({ workspaceId });
  const { position } = await client.sessions.compactSession(summary);
  await client.sessions.getSession({ sessionId: "sess_desk", minPosition: position });

  const told = (await text("sessions", "history", "sess_desk")).split("\n");
  expect(told).toEqual([
    expect.stringMatching(new RegExp(`^2.*Z  ${first}$`)) as unknown,
    "> Are you there?",
    "> Really?",
    "Are you there?",
    "Really?",
    "",
    "--- for the agent, the 1 turns up to here are summarised:",
    "They greeted.",
    "---",
    "",
    expect.stringMatching(new RegExp(`^2.*Z  ${second}$`)) as unknown,
    '> {"failures":-1}',
    "(FAILED)",
    "",
  ]);
  expect(await list<JsonTurn>("sessions", "history", "sess_desk", "--after", first)).toMatchObject([{ runId: second }]);
});

test("ls and get show sessions", async () => {
  const runId = await say("sess_one", "echo", "hello");
  await ended("sess_one", 1);
  expect(await text("sessions", "ls")).toMatch(new RegExp(`^sess_one +1 +${runId} +2`, "m"));
  expect(await text("sessions", "get", "sess_one")).toMatch(new RegExp(`runs +1\nlast run +${runId}\n`));
  expect(await json("sessions", "get", "sess_one")).toMatchObject({ sessionId: "sess_one", runCount: "1" });
});

test("a session that is not there is named with the way out", async () => {
  const { code, stderr } = await run("sessions", "history", "sess_nobody");
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/\(SESSION_NOT_FOUND\)\nhint: signalbox sessions ls/);
});
