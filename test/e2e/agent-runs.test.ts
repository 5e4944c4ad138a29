import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";
import type { AgentLimitsSchema, MemoryPolicySchema } from "../../gen/signalbox/v1/agent_pb.ts";
import { PauseReason, type Run, RunStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, valueToJson } from "../../src/client/client.ts";
import { createAgentHandler } from "../../src/engine/agent/agent.ts";
import type { WorkerOptions } from "../../src/engine/worker.ts";
import { createMockModel, type MockScript } from "../../src/models/mock-model.ts";
import { defineTool } from "../../src/tools/define-tool.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const client = installation.client();

const call = (n: number) => ({ toolCalls: [{ name: "look", args: { n } }] });
const look = defineTool({
  name: "look",
  description: "Looks.",
  effect: ToolEffect.READ,
  input: { type: "object" },
  run: () => "seen",
});

interface AgentFields {
  readonly tools?: readonly string[];
  readonly limits?: MessageInitShape<typeof AgentLimitsSchema>;
  readonly memory?: MessageInitShape<typeof MemoryPolicySchema>;
}

let number = 0;

/** An agent whose runs go to a queue of their own, and a way to start workers for it. */
async function scripted(script: MockScript, { tools = ["look"], limits, memory }: AgentFields = {}) {
  const queue = `queue_${++number}`;
  const model = createMockModel(script);
  const { agent } = await client.agents.createAgent({
    name: "Scripted",
    model: "mock/scripted",
    tools: [...tools],
    ...(limits === undefined ? {} : { limits }),
    ...(memory === undefined ? {} : { memory }),
  });
  return {
    model,
    work: (options: Partial<WorkerOptions> = {}) =>
      installation.worker({
        handlers: { agent: createAgentHandler() },
        queues: [queue],
        models: model,
        tools: [look],
        ...options,
      }),
    async start(sessionId = ""): Promise<string> {
      const request = { agentId: agent?.agentId ?? "", queue, sessionId, input: jsonValue("Go.") };
      return (await client.runs.createRun(request)).run?.runId ?? "";
    },
  };
}

async function ended(runId: string): Promise<Run> {
  return (await client.runs.waitRun({ runId })).run as Run;
}

test("a run that moves to another worker asks no model twice", async () => {
  const { model, work, start } = await scripted([call(1), call(2), { text: "Done." }]);
  const entered = Promise.withResolvers<void>();
  function run(): Promise<never> {
    entered.resolve();
    return new Promise(() => {});
  }
  const stuck = { ...look, run };
  const first = work({ tools: [stuck], drainTimeoutMs: 0 });
  const runId = await start();
  await entered.promise;
  await first[Symbol.asyncDispose]();
  await using _second = work();
  const last = await ended(runId);
  expect(last).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 2 });
  expect(valueToJson(last.output)).toEqual({ text: "Done.", turns: 3, model: "mock/scripted" });
  expect(model.requests).toHaveLength(3);
});

test("a budget pauses a run, and a larger one lets it go on where it was", async () => {
  const limits = { budget: { maxToolCalls: 1n } };
  const { model, work, start } = await scripted([call(1), call(2), { text: "Done." }], { limits });
  await using _worker = work();
  const runId = await start();
  const paused = await until(
    async () => {
      const { run } = await client.runs.getRun({ runId });
      return run?.status === RunStatus.PAUSED ? run : undefined;
    },
    { what: "the run to be paused" },
  );
  expect(paused.pause).toMatchObject({ reason: PauseReason.BUDGET });
  await client.runs.resumeRun({ runId, budget: { maxToolCalls: 5n } });
  expect(await ended(runId)).toMatchObject({ status: RunStatus.SUCCEEDED, usage: { toolCalls: 2n } });
  expect(model.requests).toHaveLength(3);
});

test("an agent that is stuck fails with the reason", async () => {
  const { work, start } = await scripted(() => ({ toolCalls: [{ name: "fly" }] }));
  await using _worker = work();
  expect(await ended(await start())).toMatchObject({ status: RunStatus.FAILED, error: { code: "AGENT_STUCK" } });
});

test("a long session is compacted, and the summary is what is remembered", async () => {
  const memory = { sessionHistory: true, compactAfterTokens: 1, keepTurns: 1 };
  const script: MockScript = ({ messages: [first] }) => ({
    text: first?.role === "system" && first.text.startsWith("Summarise") ? "They went." : "Yes.",
  });
  const { model, work, start } = await scripted(script, { memory, tools: [] });
  await using _worker = work();
  for (let turn = 1; turn <= 3; turn++)
    expect(await ended(await start("sess_long"))).toMatchObject({ status: RunStatus.SUCCEEDED });
  const { session } = await client.sessions.getSession({ sessionId: "sess_long" });
  expect(session?.compaction).toMatchObject({ summary: "They went.", turnCount: 2 });
  expect(model.requests.at(-2)?.messages[0]).toMatchObject({ text: "What was said before, in short:\nThey went." });
});
