import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { PrincipalSchema } from "../../gen/signalbox/v1/common_pb.ts";
import { ClaimRunRequestSchema, SuspendRunRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Job } from "../../src/jobs/job.ts";
import type { Jobs } from "../../src/jobs/jobs.ts";
import { createLeaseTokens } from "../../src/jobs/lease-token.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createEngine } from "../../src/runs/engine.ts";
import { createRunRecord } from "../../src/runs/run-record.ts";
import { runAggregate } from "../../src/runs/state.ts";
import { wakeRun } from "../../src/runs/wait-decider.ts";
import { atTime } from "../e2e/waiting.ts";
import { allowingGate } from "../support/allowing-gate.ts";
import { created, type Decide } from "./scenario.ts";

const call = {
  workspaceId: "ws_test",
  principal: create(PrincipalSchema),
  correlationId: "c",
  traceparent: "",
  signal: new AbortController().signal,
};

/** An engine on a log in memory; `deliver` says which job a claim meets next. */
function setUp() {
  let nowMs = 1_000;
  const clock = { now: () => new Date(nowMs) };
  const log = createEventLog(createMemoryStore(), createSubjects());
  const aggregates = createAggregates(runAggregate, { log, clock, ids });
  const deliveries: Job[] = [];
  const finished: string[] = [];
  const jobs = {
    next: async () => {
      const job = deliveries.shift();
      return job && { job, redelivered: false, ackSubject: job.jobId };
    },
    // As with a server that dies before it has acknowledged the job.
    finishConfirmed: async () => undefined,
    finish: (ackSubject: string) => void finished.push(ackSubject),
    release: () => undefined,
  } as unknown as Jobs;
  const engine = createEngine({
    aggregates,
    record: createRunRecord(log),
    jobs,
    tokens: createLeaseTokens(new Uint8Array(32)),
    clock,
    ids,
    limits: { maxInputBytes: 1_000, maxOutputBytes: 1_000 },
    leaseTtlMs: 30_000,
    heartbeats: { send: () => undefined, listen: () => ({ [Symbol.dispose]: () => undefined }) },
    ...allowingGate,
  });
  return {
    engine,
    finished,
    execute: (decide: Decide) => aggregates.execute({ call, id: "run_1", decide }),
    pass: (ms: number) => void (nowMs += ms),
    deliver(jobId: string, position: bigint) {
      const route = { workspaceId: "ws_test", queue: "default", handler: "echo" };
      deliveries.push({ ...route, runId: "run_1", priority: 0, jobId, position });
    },
    claim() {
      const request = create(ClaimRunRequestSchema, { handlers: ["echo"], workerId: "w", maxWait: { nanos: 1 } });
      return engine.claim(call, request, call.signal);
    },
  };
}

test("a job that outlived the wait of its run is dropped: only one that was made since is a place in the queue", async () => {
  const { engine, finished, execute, pass, deliver, claim } = setUp();
  const { position: createPosition } = await execute(created());
  deliver("job_old", createPosition);
  const { leaseToken = "" } = await claim();
  const conditions = [atTime(2_000)];
  await engine.suspend(call, create(SuspendRunRequestSchema, { leaseToken, conditions }));
  pass(1_000);
  const { position } = await execute((state, now) => wakeRun(state, now));

  deliver("job_old", createPosition);
  expect(await claim()).toEqual({});
  expect(finished).toEqual(["job_old"]);
  deliver("job_new", position);
  expect((await claim()).run?.status).toBe(RunStatus.RUNNING);
});
