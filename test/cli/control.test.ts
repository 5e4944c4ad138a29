import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { builtInHandlers, type Handler, ToolEffect } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { createCommands } from "./commands.ts";
import { followSignalbox } from "./signalbox.ts";

const sent: unknown[] = [];
/** Sends what people have approved. */
const mailer: Handler = (ctx, input) =>
  ctx.tool("send", { tool: "mail.send", effect: ToolEffect.EXTERNAL_WRITE, args: input ?? null }, (_call, args) => {
    sent.push(args);
    return Promise.resolve("sent");
  });

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
installation.worker({ workspaceId, handlers: { ...builtInHandlers, mailer } });
const { run, text, json, list } = createCommands(installation.url, workspaceId);
const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };

interface JsonApproval {
  readonly approvalId: string;
  readonly runId: string;
  readonly status: string;
  readonly payloadDigest: string;
}

interface JsonRun {
  readonly runId: string;
  readonly status: string;
}

async function pendingOf(runId: string): Promise<JsonApproval> {
  const pending = async () => (await list<JsonApproval>("approvals", "ls", "--status", "pending", "--run", runId))[0];
  return until(pending, { what: "the approval to show in the inbox" });
}

test("approving from another terminal lets a run that waits go on, and what was approved is done once", async () => {
  await using waiting = followSignalbox(["run", "mailer", "--input", '{"to":"a"}', "--watch"], env);
  const [runId = ""] = /run_\w+/.exec(await waiting.says("tool_call.gated")) ?? [];
  const { approvalId, payloadDigest } = await pendingOf(runId);
  expect(await text("approvals", "show", approvalId)).toMatch(
    /action +mail\.send\neffect +EXTERNAL_WRITE[^]*"to": "a"/,
  );
  await until(async () => (await json<JsonRun>("runs", "get", runId)).status === "RUN_STATUS_WAITING", {
    what: "the run to wait",
  });
  expect(await text("runs", "show", runId)).toContain(`signalbox approvals show ${approvalId}`);
  expect(await text("approvals", "approve", approvalId, "--digest", payloadDigest, "--as", "user:alice")).toContain(
    `${approvalId} APPROVED`,
  );
  expect((await waiting.outcome).code).toBe(exitCodes.ok);
  expect(sent).toEqual([{ to: "a" }]);
  expect(await text("approvals", "show", approvalId)).toMatch(/status +CONSUMED[^]*APPROVE by alice/);
});

test("what is approved with another payload is done with that one", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "other.json");
  await writeFile(file, '{"to":"c"}');
  const { runId } = await json<JsonRun>("run", "mailer", "--input", '{"to":"b"}');
  const { approvalId } = await pendingOf(runId);
  await text("approvals", "approve", approvalId, "--edit", file, "--yes", "--as", "user:alice");
  expect((await run("runs", "wait", runId)).code).toBe(exitCodes.ok);
  expect(sent.at(-1)).toEqual({ to: "c" });
});

test("a denial ends the run that can not do without, and says so", async () => {
  const { runId } = await json<JsonRun>("run", "mailer", "--input", '{"to":"d"}');
  const { approvalId } = await pendingOf(runId);
  await text("approvals", "deny", approvalId, "--comment", "not today", "--as", "user:bob");
  expect((await run("runs", "wait", runId)).code).toBe(exitCodes.failed);
  const again = await run("approvals", "approve", approvalId, "--yes", "--as", "user:alice");
  expect(again.stderr).toMatch(/APPROVAL_ALREADY_DECIDED\)\nhint: signalbox approvals show/);
});

test("a policy is put, tried and simulated", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "rules.cedar");
  await writeFile(file, '@id("no-mail")\nforbid(principal, action, resource);\n');
  const evaluate = ["policy", "eval", "mail.send", "--effect", "external_write"];
  expect(await text(...evaluate)).toMatch(/^decision +REQUIRE_APPROVAL\n/);
  expect(await text(...evaluate, "--policy", file)).toMatch(/^decision +DENY\n[^]*rule +no-mail\n/);
  const { stdout } = await run("policy", "simulate", "--policy", file);
  expect(stdout).toMatch(/mail\.send +REQUIRE_APPROVAL +DENY +no-mail$/m);
  const other = createCommands(installation.url, newWorkspaceId());
  expect(await other.json("policy", "put", file, "--note", "frozen")).toMatchObject({ version: "1", note: "frozen" });
  await until(async () => /^1 .*frozen$/m.test(await other.text("policy", "versions")), {
    what: "the versions to show the new one",
  });
});

test("a kill switch pauses what wants to write outside, and its status says what it has stopped", async () => {
  const own = newWorkspaceId();
  const commands = createCommands(installation.url, own);
  installation.worker({ workspaceId: own, handlers: { mailer } });
  await commands.text("kill-switch", "on", "--reason", "wrong prices", "--as", "user:alice");
  const { runId } = await commands.json<JsonRun>("run", "mailer");
  await until(async () => (await commands.json<JsonRun>("runs", "get", runId)).status === "RUN_STATUS_PAUSED", {
    what: "the run to be paused",
  });
  await until(async () => (await commands.text("kill-switch", "status")).includes(runId), {
    what: "the report to name the run",
  });
  expect(await commands.text("kill-switch", "status")).toMatch(
    new RegExp(
      `^external writes are stopped\n[^]*by alice[^]*: wrong prices\n[^]*${runId} +PAUSED +tc_\\w+ +mail\\.send +stopped +GATED`,
    ),
  );
  expect(await commands.text("kill-switch", "off")).toMatch(/^workspace +off/);
});

test("people talk in a room, and everybody who follows it sees it once", async () => {
  const { roomId } = await json<{ roomId: string }>("rooms", "create", "--name", "Lab", "--as", "user:alice");
  await text("rooms", "members", "add", roomId, "user:bob", "--handle", "b");
  await text("say", roomId, "Good morning", "--as", "user:alice");
  await using following = followSignalbox(["tail", "--room", roomId], env);
  await following.says("alice  Good morning");
  await text("say", roomId, "@alice good morning", "--as", "user:bob");
  await following.says("b  @alice good morning");
  await json("run", "echo", "--room", roomId);
  const told = await following.says("run.succeeded");
  expect(told.match(/good morning/gi)).toHaveLength(2);
  expect(told).not.toContain("run.claimed");

  const unread = async () => text("rooms", "unread", "--as", "user:alice");
  await until(async () => /Lab +1 +1/.test(await unread()), { what: "alice to have one unread mention" });
  expect(await text("rooms", "changes", roomId, "--from", "0")).toMatch(/2 messages:[^]*1 runs:/);
  await text("rooms", "read", roomId, "--as", "user:alice");
  await until(async () => !(await unread()).includes(roomId), { what: "alice to have read everything" });
  await json("rooms", "archive", roomId);
  expect((await run("say", roomId, "too late")).stderr).toContain("(INVALID_STATE)");
});

test("an incident is opened, taken up, written about and resolved", async () => {
  const open = ["incidents", "open", "Mail went out twice", "--severity", "high", "--idempotency-key", "mail-1"];
  const { incidentId } = await json<{ incidentId: string }>(...open);
  expect(await json(...open)).toMatchObject({ incidentId });
  await json("incidents", "ack", incidentId, "--as", "user:alice");
  await json("incidents", "note", incidentId, "The key differs.", "--as", "user:alice");
  await json("incidents", "resolve", incidentId, "--root-cause", "two keys");
  expect(await text("incidents", "show", incidentId)).toMatch(
    /status +RESOLVED[^]*taken up +.* by alice\n[^]*root cause +two keys\n[^]*by alice\nThe key differs\./,
  );
});

test("the board shows where runs stand", async () => {
  const { runId } = await json<JsonRun>("run", "echo", "--queue", "nobody");
  const shown = async () => text("board");
  await until(async () => (await shown()).includes(`…${runId.slice(-6)}`), { what: "the board to show the run" });
  expect(await shown()).toMatch(/^INBOX 1 +QUEUED \d+ +RUNNING \d+ +NEEDS DECISION \d+ +DONE \d+ +FAILED \d+\n/);
});
