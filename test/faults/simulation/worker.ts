import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClaimRunResponse } from "../../../gen/signalbox/v1/engine_service_pb.ts";
import { StepStatus, ToolCallStatus, ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { jsonValue } from "../../../src/client/json.ts";
import { SignalboxError } from "../../../src/kernel/errors.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import { insist, type Methods, methodsFor } from "./calls.ts";
import type { Stage } from "./stage.ts";

/** A call that does not come through is repeated this often by a worker. */
const tries = 4;

/** Claims runs and works on them until the simulation is over; in times of trouble it dawdles, vanishes, does not listen. */
export async function actAsWorker(stage: Stage, name: string): Promise<void> {
  const { random } = stage;
  const methods = methodsFor(stage, name);
  const request = { handlers: ["one", "two"], workerId: name, maxWait: durationFromMs(0) };
  while (!stage.isOver()) {
    const claim = await insist(stage, () => methods.claimRun(request), 1);
    if (claim?.run === undefined) await sleep(10 + random.below(20));
    else await workOn({ stage, methods, claim, leaseToken: claim.leaseToken });
  }
}

interface Task {
  readonly stage: Stage;
  readonly methods: Methods;
  readonly claim: ClaimRunResponse;
  readonly leaseToken: string;
}

async function workOn(task: Task): Promise<void> {
  const { stage, methods, claim, leaseToken } = task;
  const { random } = stage;
  const parts = [
    ...claim.unknownToolCalls.map(({ toolCallId, key }) => () => {
      const found = random.oneIn(2) ? { result: jsonValue(key) } : {};
      const reconcile = () => methods.reconcileToolCall({ leaseToken, toolCallId, note: "looked it up", ...found });
      return insist(stage, reconcile, tries);
    }),
    ...Array.from({ length: random.below(3) }, (_, index) => () => step(task, `step-${index + 1}`)),
    ...(random.oneIn(3) ? [() => hear(task)] : []),
    ...(random.oneIn(2) ? [() => toolCall(task, random.pick(["tool-1", "tool-2"]))] : []),
    () => end(task),
  ];
  // One that does not listen goes on when it is told that its lease is lost.
  const isStubborn = stage.inTrouble() && random.oneIn(2);
  for (const part of parts) {
    if (await isGone(stage)) return;
    try {
      if (random.oneIn(3)) await insist(stage, () => methods.heartbeat({ leaseToken }), 1);
      if ((await part()) === false) return;
    } catch (error) {
      if (!(error instanceof SignalboxError)) throw error;
      if (!isStubborn) return;
    }
  }
}

/** A moment passes; in times of trouble also more than a lease time. True when the worker has died over it. */
async function isGone({ random, inTrouble, leaseTtlMs }: Stage): Promise<boolean> {
  if (inTrouble() && random.oneIn(12)) return true;
  await sleep(inTrouble() && random.oneIn(8) ? leaseTtlMs + random.below(leaseTtlMs) : random.below(20));
  return false;
}

/** False when the worker has died over it. */
async function step({ stage, methods, leaseToken }: Task, key: string): Promise<boolean> {
  const started = await insist(stage, () => methods.startStep({ leaseToken, key }), tries);
  if (started?.step === undefined || started.step.status === StepStatus.COMPLETED) return true;
  const { stepId } = started.step;
  if (await isGone(stage)) return false;
  const error = { code: "FLAKY", retryable: true };
  if (stage.random.oneIn(6)) await insist(stage, () => methods.failStep({ leaseToken, stepId, error }), tries);
  else await insist(stage, () => methods.completeStep({ leaseToken, stepId, output: jsonValue(key) }), tries);
  return true;
}

/** Waits for the client's message, without a lease while it has not come. False when the worker has given the run back. */
async function hear({ stage, methods, leaseToken }: Task): Promise<boolean> {
  const conditions = [{ condition: { case: "message" as const, value: {} } }];
  const answer = await insist(stage, () => methods.suspendRun({ leaseToken, conditions }), tries);
  return answer?.suspended === false;
}

/** False when the worker has died over it. */
async function toolCall({ stage, methods, leaseToken }: Task, key: string): Promise<boolean> {
  const effect = key === "tool-1" ? ToolEffect.READ : ToolEffect.EXTERNAL_WRITE;
  const started = await insist(stage, () => methods.startToolCall({ leaseToken, key, tool: "tool", effect }), tries);
  if (started?.toolCall?.status !== ToolCallStatus.STARTED) return true;
  const { toolCallId } = started.toolCall;
  if (await isGone(stage)) return false;
  const error = { code: "FLAKY", retryable: true };
  if (stage.random.oneIn(6)) await insist(stage, () => methods.failToolCall({ leaseToken, toolCallId, error }), tries);
  else await insist(stage, () => methods.succeedToolCall({ leaseToken, toolCallId, result: jsonValue(key) }), tries);
  return true;
}

async function end({ stage, methods, leaseToken }: Task): Promise<void> {
  const fail = (retryable: boolean) => () => methods.failRun({ leaseToken, error: { code: "FAILED", retryable } });
  const complete = () => methods.completeRun({ leaseToken, output: jsonValue("done") });
  const release = () => methods.releaseRun({ leaseToken, reason: "not now" });
  const bad = stage.inTrouble() ? [fail(true), fail(false), release] : [];
  const ending = stage.random.pick<() => Promise<unknown>>([complete, complete, complete, complete, ...bad]);
  await insist(stage, ending, tries);
}
