import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue } from "../../src/client/json.ts";
import type { Aggregates, Command } from "../../src/eventlog/aggregates.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { createRun } from "../../src/runs/decider.ts";
import { completeRetryPolicy } from "../../src/runs/retry-policy.ts";
import type { RunState } from "../../src/runs/state.ts";

/** Every run of the benchmarks: some 500 bytes as an event. */
export const newRun = {
  handler: "echo",
  labels: { purpose: "benchmark" },
  input: jsonValue({ text: "signalbox".repeat(24) }),
};

/** The workspace that clients are in unless they say otherwise. */
const workspaceId = "ws_dev";

const principal: Principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "local" });

/** What a command says about its caller. A correlation id of its own each time, as at the edge. */
export function newCall(): Command<RunState>["call"] {
  return { workspaceId, principal, correlationId: randomIds.next("corr"), traceparent: "" };
}

/** Records run.created of a new run, past the RPC layer. Returns the run id. */
export async function recordCreated(aggregates: Aggregates<RunState>, roomId: string): Promise<string> {
  const runId = randomIds.next("run");
  const run = {
    runId,
    request: create(CreateRunRequestSchema, { ...newRun, roomId }),
    handler: newRun.handler,
    zone: Zone.SANDBOX,
    retryPolicy: completeRetryPolicy(undefined),
    maxDuration: undefined,
    budget: undefined,
    depth: 0,
    base: undefined,
    requestDigest: new Uint8Array(),
  };
  await aggregates.execute({
    call: newCall(),
    id: runId,
    creation: { roomId, repeatable: false },
    decide: (state) => createRun(state, run),
  });
  return runId;
}
