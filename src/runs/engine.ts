import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  ClaimRunRequest,
  CompleteRunRequest,
  FailRunRequest,
  HeartbeatResponse,
  ReleaseRunRequest,
  SuspendRunRequest,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Aggregates, Draft, Loaded } from "../eventlog/aggregates.ts";
import type { Delivery } from "../jobs/dispatcher.ts";
import type { Heartbeats } from "../jobs/heartbeats.ts";
import type { Job } from "../jobs/job.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { asWorker } from "./acting.ts";
import { isOpen, runNotFound } from "./decider.ts";
import type { Alarm, Gate } from "./gate.ts";
import { createLeasedRuns } from "./leased-runs.ts";
import { type ClaimAnswer, claimResponse } from "./claim-response.ts";
import { claimRun, completeRun, failRun, isUnder, isVoid, releaseRun, requireLease } from "./lease-decider.ts";
import type { RunRecord } from "./run-record.ts";
import type { RunAt } from "./starts.ts";
import type { LiveRun, RunState } from "./state.ts";
import { holdingConditions, isSuspended, suspendRun } from "./wait-decider.ts";

/** What workers do with runs as a whole. Every function throws the errors that engine_service.proto names. */
export interface Engine {
  /** A run under a lease; an empty response when none came in time or `giveUp` aborted. */
  claim(call: Call, request: ClaimRunRequest, giveUp: AbortSignal): Promise<ClaimAnswer>;
  heartbeat(call: Call, leaseToken: string): Promise<Omit<HeartbeatResponse, "$typeName" | "$unknown">>;
  release(call: Call, request: ReleaseRunRequest): Promise<RunAt>;
  /** `holding` are the places of the conditions that hold already; when there are some, the run is not suspended. */
  suspend(call: Call, request: SuspendRunRequest): Promise<RunAt & { suspended: boolean; holding: number[] }>;
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
  readonly gate: Pick<Gate, "seenExternalWrites">;
  readonly alarm: Alarm;
}

const defaultMaxWaitMs = 20_000;

/** Leases on runs. */
export function createEngine(deps: EngineDeps): Engine {
  const { aggregates, jobs, tokens, clock, limits, leaseTtlMs } = deps;
  const leased = createLeasedRuns(deps);

  async function execute(
    call: Call,
    ticket: LeaseTicket,
    decide: (state: RunState, now: Date) => Draft | undefined,
  ): Promise<RunAt & { readonly state: LiveRun & RunState }> {
    const { state, position } = await leased.execute(call, ticket, decide);
    return { state, run: state.run, position };
  }

  /** What becomes of the job of a lease that is over: it stands for a run that is queued, and for no other. */
  async function settle(ackSubject: string, { status, availableTime }: Run): Promise<void> {
    switch (status) {
      case RunStatus.QUEUED: {
        const nowMs = clock.now().getTime();
        return jobs.release(ackSubject, Math.max((availableTime ? timestampMs(availableTime) : nowMs) - nowMs, 0));
      }
      case RunStatus.WAITING:
      case RunStatus.PAUSED:
        return jobs.finishConfirmed(ackSubject);
      case RunStatus.SUCCEEDED:
      case RunStatus.FAILED:
      case RunStatus.CANCELED:
        return jobs.finish(ackSubject);
      case RunStatus.UNSPECIFIED:
      case RunStatus.RUNNING:
      default:
        // Another lease has begun, with another delivery: it is not for the old one to say what becomes of the job.
        return undefined;
    }
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
    const { run } = await execute(call, ticket, (state, now) =>
      releaseRun(state, ticket, "the worker left while it was claiming", 0, now),
    );
    await settle(ticket.ackSubject, run);
  }

  /** Turns a delivered job into a lease; undefined when the run is not to be had now. */
  async function take(call: Call, { job, redelivered, ackSubject }: Delivery, workerId: string) {
    const leaseId = deps.ids.next("lease");
    const { jobId, position: jobPosition } = job;
    const loaded = await aggregates
      .execute({
        call,
        id: job.runId,
        decide: asWorker(call.principal, (state) =>
          claimRun(state, { jobId, jobPosition, redelivered, leaseId, leaseTtlMs, workerId }, clock.now()),
        ),
      })
      .catch((error: unknown) => {
        jobs.release(ackSubject, 1_000);
        throw error;
      });
    const { state } = loaded;
    if (state.status === "running" && state.lease?.leaseId === leaseId) {
      const ticket = { workspaceId: call.workspaceId, runId: job.runId, leaseId, ackSubject };
      return claimResponse(deps.record, loaded, { token: tokens.seal(ticket), ttlMs: leaseTtlMs }, clock.now());
    }
    putBack(loaded, job, ackSubject);
    return undefined;
  }

  /** What becomes of a job whose run was not claimed. */
  function putBack({ state }: Loaded<RunState>, { jobId, position }: Job, ackSubject: string): void {
    const nowMs = clock.now().getTime();
    if (state.status === "queued" && !isVoid(state, position)) {
      const dueMs = state.run.availableTime ? timestampMs(state.run.availableTime) : nowMs;
      return jobs.release(ackSubject, dueMs - nowMs);
    }
    // Nobody is to take the run now, or another message stands for the present lease: this one is a leftover.
    if (state.status !== "running" || state.lease?.jobId !== jobId) return jobs.finish(ackSubject);
    jobs.release(ackSubject, Math.max(state.lease.expireTimeMs - nowMs, 1_000));
  }

  return {
    claim,
    async heartbeat(call, leaseToken) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const { state } = await aggregates.load(call.workspaceId, ticket.runId);
      if (state.status === "absent") throw runNotFound(ticket.runId);
      const { stopped: externalWritesStopped, epoch: killEpoch } = await deps.gate.seenExternalWrites(call.workspaceId);
      const switches = { killEpoch, externalWritesStopped };
      if (!isOpen(state) && state.endedLease?.leaseId === ticket.leaseId) {
        return { ...switches, cancelRequested: true, pauseRequested: false };
      }
      const { run } = requireLease(state, ticket);
      jobs.extend(ticket.ackSubject);
      deps.heartbeats.send(ticket.runId);
      const leaseExpireTime = timestampFromMs(clock.now().getTime() + leaseTtlMs);
      return { ...switches, cancelRequested: false, pauseRequested: run.pauseRequested, leaseExpireTime };
    },
    async release(call, { leaseToken, reason, delay }) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const delayMs = delay ? durationMs(delay) : 0;
      const { run, position } = await execute(call, ticket, (state, now) =>
        releaseRun(state, ticket, reason, delayMs, now),
      );
      await settle(ticket.ackSubject, run);
      return { run, position };
    },
    async suspend(call, { leaseToken, conditions }) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      let holding: number[] = [];
      const { state, run, position } = await execute(call, ticket, (before, now) => {
        const draft = suspendRun(before, ticket, conditions, now);
        holding = draft === undefined && isUnder(before, ticket) ? holdingConditions(before, conditions, now) : [];
        return draft;
      });
      const suspended = isSuspended(state, ticket);
      if (suspended) await settle(ticket.ackSubject, run);
      return { run, position, suspended, holding };
    },
    async complete(call, { leaseToken, output }) {
      requireStorable("output", output, limits.maxOutputBytes);
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const { run, position } = await execute(call, ticket, (state) => completeRun(state, ticket, output));
      await settle(ticket.ackSubject, run);
      return { run, position };
    },
    async fail(call, { leaseToken, error }) {
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const { run, position } = await execute(
        call,
        ticket,
        (state, now) => error && failRun(state, ticket, error, now),
      );
      await settle(ticket.ackSubject, run);
      return { run, position };
    },
  };
}
