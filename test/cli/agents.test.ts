import { afterAll, expect, test } from "vitest";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const { run, text, json } = createCommands(installation.url, newWorkspaceId());

interface JsonAgent {
  readonly agentId: string;
  readonly etag: string;
}

const limits = {
  maxDuration: "60s",
  maxRunning: 2,
  maxTurns: 8,
  budget: { maxTokens: "200000", maxCostMicros: "2500000" },
  retryPolicy: {
    maxAttempts: 5,
    initialBackoff: "2s",
    nonRetryableCodes: ["A", "B"],
    onExhausted: "ON_EXHAUSTED_PAUSE",
  },
};

const options = [
  ["--max-duration", "1m", "--max-running", "2", "--max-turns", "8"],
  ["--budget", "tokens=200000,cost=2.50"],
  ["--retry", "attempts=5,backoff=2s,fatal=A", "--retry", "fatal=B,on-exhausted=pause"],
  ["--memory", "history=on,compact-after=20000"],
].flat();

function create(): Promise<JsonAgent> {
  return json("agents", "create", "--name", "Ada", ...options);
}

test("create sets limits, budget, retry policy and memory", async () => {
  const agent = await create();
  expect(agent).toMatchObject({ limits, memory: { sessionHistory: true, compactAfterTokens: 20_000, keepTurns: 4 } });
  expect(await text("agents", "get", agent.agentId)).toMatch(
    new RegExp(
      [
        "limits +1 min a run, 2 runs under way, 8 turns",
        "budget +200000 tokens, cost 2\\.5",
        "retry +5 attempts, from 2\\.0 s, not after A, B, then paused",
        "memory +the session's history, summarised after 20000 tokens, but for the newest 4 turns",
      ].join("\n"),
    ),
  );
});

test("update leaves the limits that it does not name as they are", async () => {
  const { agentId } = await create();
  expect(await json("agents", "update", agentId, "--max-duration", "2m")).toMatchObject({
    limits: { ...limits, maxDuration: "120s" },
  });
  const changes = ["--budget", "tokens=0,steps=9", "--retry", "on-exhausted=fail", "--memory", "keep-turns=6"];
  const after = await json<{ limits: { budget: object } }>("agents", "update", agentId, ...changes);
  expect(after).toMatchObject({
    limits: { maxDuration: "120s", budget: { maxCostMicros: "2500000", maxSteps: "9" } },
    memory: { sessionHistory: true, compactAfterTokens: 20_000, keepTurns: 6 },
  });
  expect(after).toHaveProperty("limits.retryPolicy", { ...limits.retryPolicy, onExhausted: "ON_EXHAUSTED_FAIL" });
  expect(after.limits.budget).not.toHaveProperty("maxTokens");
});

test("update refuses when the agent has changed since the etag was read", async () => {
  const { agentId, etag } = await create();
  await json("agents", "update", agentId, "--model", "small");
  const { stderr } = await run("agents", "update", agentId, "--max-running", "3", "--etag", etag);
  expect(stderr).toMatch(/\(ETAG_MISMATCH\)\nhint: .*repeat/);
});
