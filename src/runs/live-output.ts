import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { DeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import type { PublishDeltasRequest, PublishDeltasResponseSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Deltas } from "../deltas/deltas.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { createStateCache } from "../eventlog/state-cache.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { requireStorable } from "../kernel/limits.ts";
import { requireLease } from "./lease-decider.ts";
import type { LiveRun, RunState } from "./state.ts";

/** All pieces of one call together, in bytes. */
const maxCallBytes = 256 * 1024;
/** For how long a lease that the log has confirmed is taken to hold without asking again. What is said here is no fact. */
const trustMs = 1_000;
/** Leases that are remembered, in bytes: some 2,000. */
const rememberedBytes = 1024 * 1024;

/** Output of runs while it is made. */
export interface LiveOutput {
  /** Shows the pieces to those who look. LEASE_LOST, PAYLOAD_TOO_LARGE. */
  publish(call: Call, request: PublishDeltasRequest): Promise<MessageInitShape<typeof PublishDeltasResponseSchema>>;
}

/** What live output needs. */
export interface LiveOutputDeps {
  readonly aggregates: Pick<Aggregates<RunState>, "load" | "cached">;
  readonly tokens: LeaseTokens;
  readonly deltas: Pick<Deltas, "publish">;
  readonly clock: Clock;
}

/** Output under a lease. Tokens come by the hundred each second, so the log is not asked about each. */
export function createLiveOutput({ aggregates, tokens, deltas, clock }: LiveOutputDeps): LiveOutput {
  const confirmed = createStateCache<{ readonly atMs: number; readonly sizeBytes: number }>(rememberedBytes);

  async function leasedRun({ workspaceId }: Call, ticket: LeaseTicket): Promise<LiveRun> {
    const { runId, leaseId } = ticket;
    const atMs = performance.now();
    const cached = aggregates.cached(workspaceId, runId)?.state;
    const trusted = atMs - (confirmed.get(leaseId)?.atMs ?? -Infinity) < trustMs;
    if (trusted && cached !== undefined) return requireLease(cached, ticket);
    const { state } = await aggregates.load(workspaceId, runId);
    const run = requireLease(state, ticket);
    confirmed.set(leaseId, { atMs, sizeBytes: 0 });
    return run;
  }

  return {
    async publish(call, { leaseToken, deltas: pieces }) {
      const sizeBytes = pieces.reduce((sum, piece) => sum + toBinary(DeltaSchema, piece).length, 0);
      if (sizeBytes > maxCallBytes) {
        throw new SignalboxError(
          "PAYLOAD_TOO_LARGE",
          `the deltas have ${sizeBytes} bytes together, the limit is ${maxCallBytes}; send them in several calls`,
          { limit: String(maxCallBytes), size: String(sizeBytes) },
        );
      }
      for (const { data } of pieces) requireStorable("data", data, maxCallBytes);
      const ticket = tokens.open(leaseToken, call.workspaceId);
      const { run } = await leasedRun(call, ticket);
      const { roomId, runId, attempt } = run;
      deltas.publish({ workspaceId: call.workspaceId, roomId, runId, attempt, createTime: clock.now() }, pieces);
      return {};
    },
  };
}
