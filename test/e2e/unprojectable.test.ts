import { create } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { StepKind } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createAndClaim } from "./claims.ts";
import { postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const notANumber = create(ValueSchema, { kind: { case: "numberValue", value: Number.NaN } });
const nothing = create(ValueSchema);
// Beyond what a Date can hold.
const endless = { seconds: 10n ** 15n };
const run = { handler: "nobody" };

const suspend = async (client: SignalboxClient) => {
  const { leaseToken } = await createAndClaim(client);
  return client.engine.suspendRun({ leaseToken, conditions: [{ condition: { case: "time", value: endless } }] });
};
const sleep = async (client: SignalboxClient) => {
  const { leaseToken } = await createAndClaim(client);
  const step = { sequence: 1, key: "nap", kind: StepKind.SLEEP, wakeTime: endless };
  return client.engine.startStep({ leaseToken, ...step });
};
const tick = { name: "Tick", cron: "@yearly" };

// The binary form of a message can say things that neither JSON nor Postgres have. Once on record they stay there.
test.each<[string, (client: SignalboxClient) => Promise<unknown>]>([
  ["a preset with NUL", (client) => client.agents.createAgent({ name: "a", preset: "a\0b" })],
  [
    "a schema with what is no number",
    (client) => client.agents.createAgent({ name: "a", inputSchema: { a: Number.NaN } }),
  ],
  ["an endless budget", (client) => client.runs.createRun({ ...run, budget: { maxActiveTime: endless } })],
  ["an input that is no number", (client) => client.runs.createRun({ ...run, input: notANumber })],
  ["an input without a kind", (client) => client.runs.createRun({ ...run, input: nothing, requestId: "r1" })],
  [
    "a schedule's input that is no number",
    (client) => client.schedules.createSchedule({ ...tick, run: { ...run, input: notANumber }, requestId: "r2" }),
  ],
  ["an endless wait", suspend],
  ["an endless sleep", sleep],
])("%s is refused, and everybody's lists go on", async (_what, send) => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  expect(await refusal(send(client))).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
  const { position: minPosition } = await installation.client().runs.createRun(run);
  const { runs } = await installation.client().runs.listRuns({ minPosition, pageSize: 1 }, { timeoutMs: 10_000 });
  expect(runs).toHaveLength(1);
  const asJson = (method: string) => postJson(installation.url, method, {}, { "x-workspace-id": workspaceId });
  const answers = await Promise.all(
    ["EventService/ListEvents", "RunService/ListRuns", "AgentService/ListAgents"].map(asJson),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
});
