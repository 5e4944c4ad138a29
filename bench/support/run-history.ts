import { create } from "@bufbuild/protobuf";
import { StartToolCallRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { RunErrorSchema, StepKind, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { createAggregates, type Draft } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import type { StoredMessage } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { startToolCall } from "../../src/runs/gate-decider.ts";
import { claimRun, completeRun, failRun } from "../../src/runs/lease-decider.ts";
import { type RunState, runAggregate } from "../../src/runs/state.ts";
import { completeStep, startStep } from "../../src/runs/step-decider.ts";
import { succeedToolCall } from "../../src/runs/tool-call-decider.ts";
import { inParallel } from "./load.ts";
import { newCall, newRun, recordCreated } from "./runs.ts";

/** How many runs are under way at the same time, so that batches of the log mix them. */
const runsAtATime = 64;

/** One thing that happens to a run under its lease. */
type Happening = (lease: { runId: string; leaseId: string }) => (state: RunState) => Draft | undefined;

const now = new Date();
/** Later than any backoff. */
const tomorrow = new Date(now.getTime() + 24 * 60 * 60 * 1000);

const claim: Happening =
  ({ leaseId }) =>
  (state) =>
    claimRun(
      state,
      {
        jobId: randomIds.next("job"),
        jobPosition: 0n,
        redelivered: false,
        leaseId,
        leaseTtlMs: 30_000,
        workerId: "bench",
      },
      tomorrow,
    );
const fail: Happening = (lease) => (state) =>
  failRun(state, lease, create(RunErrorSchema, { code: "BUSY", message: "try again", retryable: true }), now);
const succeed: Happening = (lease) => (state) => completeRun(state, lease, newRun.input);

/** A step from start to end. */
function step(key: string): Happening[] {
  const stepId = randomIds.next("step");
  return [
    (lease) => (state) =>
      startStep(
        state,
        lease,
        { stepId, key, name: key, input: newRun.input, kind: StepKind.FUNCTION, sequence: 0 },
        now,
      ),
    (lease) => (state) => completeStep(state, lease, { stepId, output: newRun.input, usage: undefined }),
  ];
}

/** A tool call from start to end. */
function tool(key: string): Happening[] {
  const toolCallId = randomIds.next("tc");
  const given = { key, tool: "search", effect: ToolEffect.READ, arguments: newRun.input };
  const request = create(StartToolCallRequestSchema, given);
  const permit = { decision: undefined, arguments: newRun.input, position: 0n, approval: undefined };
  return [
    (lease) => (state) => startToolCall(state, { lease, toolCallId, request }, permit, now),
    (lease) => (state) => succeedToolCall(state, lease, { toolCallId, result: newRun.input, usage: undefined }),
  ];
}

/** What becomes of the n-th run once it is created: some answer, some work in steps, some call tools, some try again. */
function storyOf(index: number): Happening[] {
  const stories = [
    () => [claim, succeed],
    () => [claim, ...step("plan"), ...step("write"), succeed],
    () => [claim, ...step("plan"), ...tool("look-up"), succeed],
    () => [claim, fail, claim, succeed],
  ];
  return stories[index % stories.length]?.() ?? [];
}

/** The log of so many runs, at least `events` events, as the log stores them: made by the deciders, held in memory. */
export async function recordHistory(events: number): Promise<StoredMessage[]> {
  const messages: StoredMessage[] = [];
  const log = createEventLog(appendOnly(messages), createSubjects());
  const aggregates = createAggregates(runAggregate, { log, clock: systemClock, ids: randomIds });
  async function live(index: number): Promise<void> {
    const runId = await recordCreated(aggregates, `room_${index % 10}`);
    let leaseId = "";
    for (const happening of storyOf(index)) {
      if (happening === claim) leaseId = randomIds.next("lease");
      await aggregates.execute({ call: newCall(), id: runId, decide: happening({ runId, leaseId }) });
    }
  }
  let index = 0;
  while (messages.length < events) await inParallel(runsAtATime, runsAtATime, () => live(index++));
  return messages.slice(0, events);
}

/** A store for one writer who knows what he wrote: everything fits, nothing is looked up. */
function appendOnly(messages: StoredMessage[]): LogStore {
  const cannot = () => Promise.reject(new Error("this log can only be appended to"));
  return {
    async publish({ subject, body, prevHash, hash }) {
      const position = BigInt(messages.length + 1);
      messages.push({ position, subject, body, prevHash, hash });
      return { status: "stored", position };
    },
    last: cannot,
    next: cannot,
    batch: cannot,
    bounds: cannot,
    tail: () => {
      throw new Error("this log can only be appended to");
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
