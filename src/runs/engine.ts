import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  ClaimRunRequest,
  CompleteRunRequest,
  FailRunRequest,
  HeartbeatResponse,
  ReleaseRunRequest,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Aggregates, Draft, Loaded } from "../eventlog/aggregates.ts";
import type { Delivery } from "../jobs/dispatcher.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { isOpen, runNotFound } from "./decider.ts";
import { type ClaimAnswer, claimResponse } from "./claim-response.ts";
import { claimRun, completeRun, failRun, releaseRun, requireLease } from "./lease-decider.ts";
import type { RunRecord } from "./run-record.ts";
import type { RunAt } from "./runs.ts";
import type { RunState } from "./state.ts";

/** What workers do with runs as a whole. Every function throws the errors that engine_service.proto names. */
export interface Engine {
  /** A run under a lease; an empty response when none came in time or `giveUp` aborted. */
  claim(call: Call, request: ClaimRunRequest, giveUp: AbortSignal): Promise<ClaimAnswer>;
  heartbeat(call: Call, leaseToken: string): Promise<Pick<HeartbeatResponse, "leaseExpireTime" | "cancelRequested">>;
  release(call: Call, request: ReleaseRunRequest): Promise<RunAt>;
  complete(call: Call, request: CompleteRunRequest): Promise<RunAt>;
  fail(call: Call, request: FailRunRequest): Promise<RunAt>;
}

/** What the engine needs. */
export interface EngineDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly record: RunRecord;
  readonly jobs: Jobs;
  readonly tokens: LeaseTokens;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly limits: Limits;
  readonly leaseTtlMs: number;
  readonly heartbeats: Heartbeats;
}

const defaultMaxWaitMs = 20_000;

/** Leases on runs. */
export function createEngine(deps: EngineDeps): Engine {
  const { aggregates, jobs, tokens, clock, limits, leaseTtlMs } = deps;

  async function execute(
    call: Call,
    { runId }: LeaseTicket,
    decide: (state: RunState) => Draft | undefined,
  ): Promise<RunAt> {
    const { state, position } = await aggregates.execute({ call, id: runId, decide });
    if (state.status === "absent") throw runNotFound(runId);
    return { run: state.run, position };
  }

  async function claim(call: Call, request: ClaimRunRequest, giveUp: AbortSignal): Promise<ClaimAnswer> {
    const until = performance.now() + (request.maxWait ? durationMs(request.maxWait) : defaultMaxWaitMs);
    const queues = request.queues.length > 0 ? request.queues : ["default"];
    const routes = queues.flatMap((queue) =>
      request.handlers.map((handler) => ({ workspaceId: call.workspaceId, queue, handler })),
    );
    const signal = AbortSignal.any([call.signal, giveUp]);
    for (;;) {
      // A worker that does not want to wait still gets what is there: the broker answers within moments.
      const leftMs = Math.max(until - performance.now(), 100);
      const delivery = await jobs.next(routes, leftMs, signal);
      if (delivery === undefined) return {};
      if (signal.aborted) {
        jobs.release(delivery.ackSubject, 0);
        return {};
      }
      const response = await take(call, delivery, request.workerId);
      if (response === undefined) {
        if (performance.now() >= until) return {};
        continue;
      }
      // Nobody is there to take it any more: better released now than lapsed later.
      if (call.signal.aborted) await giveBack(call, response.leaseToken ?? "");
      return response;
    }
  }

  async function giveBack(call: Call, leaseToken: string): Promise<void> {
    const ticket = tokens.open(leaseToken, call.workspaceId);
    await execute(call, ticket, (state) =>
      releaseRun(state, ticket, "the worker left while it was claiming", 0, clock.now()),
    );
    jobs.release(ticket.ackSubject, 0);
  }

  /** Turns a delivered job into a lease; undefined when the run is not to be had now. */
  async function take(call: Call, { job, redelivered, ackSubject }: Delivery, workerId: string) {
    const leaseId = deps.ids.next("lease");
    const loaded = await aggregates
      .execute({
        call,
        id: job.runId,
        decide: (state) =>
          claimRun(state, { jobId: job.jobId, redelivered, leaseId, leaseTtlMs, workerId }, clock.now()),
      })
      .catch((error: unknown) => {
        jobs.release(ackSubject, 1_000);
        throw error;
      });
    const { state } = loaded;
    if (state.status === "running" && state.lease?.leaseId === leaseId) {
      const ticket = { workspaceId: call.workspaceId, runId: job.runId, leaseId, ackSubject };
      return claimResponse(deps.record, loaded, tokens.seal(ticket), leaseTtlMs);
    }
    putBack(loaded, job.jobId, ackSubject);
    return undefined;
  }

  /** What becomes of a job whose run was not claimed. */
  function putBack({ state }: Loaded<RunState>, jobId: string, ackSubject: string): void {
    if (!isOpen(state)) return jobs.finish(ackSubject);
    const nowMs = clock.now().getTime();
    if (state.status === "queued") {
      const dueMs = state.run.availableTime ? timestampMs(state.run.availableTime) : nowMs;
      return jobs.release(ackSubject, dueMs - nowMs);
    }
    // Another message stands for the present lease: this one is a leftover.
    if (state.lease?.jobId !== jobId) return jobs.finish(ackSubject);
    jobs.release(ackSubject, Math.max(state.lease.expireTimeMs - nowMs, 1_000));
  }

  return {
    claim,
    async heartbeat(call, leaseToken) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const { state } = await aggregates.load(call.workspaceId, ticket.runId);
      if (state.status === "absent") throw runNotFound(ticket.runId);
      if (!isOpen(state) && state.endedLease?.leaseId === ticket.leaseId) return { cancelRequested: true };
      requireLease(state, ticket);
      jobs.extend(ticket.ackSubject);
      deps.heartbeats.send(ticket.runId);
      return { cancelRequested: false, leaseExpireTime: timestampFromMs(clock.now().getTime() + leaseTtlMs) };
    },
    async release(call, { leaseToken, reason, delay }) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const delayMs = delay ? durationMs(delay) : 0;
      const done = await execute(call, ticket, (state) => releaseRun(state, ticket, reason, delayMs, clock.now()));
      jobs.release(ticket.ackSubject, delayMs);
      return done;
    },
    async complete(call, { leaseToken, output }) {
      requireStorable("output", output, limits.maxOutputBytes);
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const done = await execute(call, ticket, (state) => completeRun(state, ticket, output));
      jobs.finish(ticket.ackSubject);
      return done;
    },
    async fail(call, { leaseToken, error }) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const done = await execute(call, ticket, (state) => error && failRun(state, ticket, error, clock.now()));
      const dueMs = done.run.availableTime ? timestampMs(done.run.availableTime) : undefined;
      if (dueMs === undefined) jobs.finish(ticket.ackSubject);
      else jobs.release(ticket.ackSubject, Math.max(dueMs - clock.now().getTime(), 0));
      return done;
    },
  };
}
