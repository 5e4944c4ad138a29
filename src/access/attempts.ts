import { create } from "@bufbuild/protobuf";
import {
  type AccessMethod,
  AccessOutcome,
  type ArtifactAccess,
  ArtifactAccessSchema,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { isAnonymous, principalName } from "../kernel/principal.ts";
import type { AccessLog } from "./access-log.ts";
import { networkOf } from "./network.ts";
import type { RateLimit } from "./rate-limit.ts";
import { accessIdentity, type Basis } from "./rights.ts";

/** Somebody wants an artifact's bytes. */
export interface Wish {
  readonly artifactId: string;
  readonly method: AccessMethod;
  /** The first byte that is wanted; default 0. */
  readonly offset?: bigint;
}

/** Why somebody does not get them. */
export type Refusal = typeof AccessOutcome.REFUSED | typeof AccessOutcome.NOT_FOUND | typeof AccessOutcome.GONE;

/** What is known of an attempt when it ends. */
export interface AttemptEnd {
  /** What it rests on; unset when it was refused without anything. */
  readonly basis?: Basis;
  /** The artifact's run; empty or unset for none. */
  readonly runId?: string;
  /** The first byte that is wanted, where the wish did not say it. */
  readonly offset?: bigint;
}

/** One attempt to get at an artifact's bytes. It ends by one of these, and either resolves or throws after it is on record. */
export interface Attempt {
  grant(end: AttemptEnd & { readonly basis: Basis }): Promise<void>;
  /** Throws `error`, whose message is the line's detail. */
  refuse(outcome: Refusal, error: SignalboxError, end?: AttemptEnd): Promise<never>;
}

/** All ways to an artifact's bytes go through here. */
export interface Attempts {
  /** Begins an attempt. RATE_LIMITED, of which the first in a minute is on record and the others are counted. */
  begin(call: Omit<Call, "signal">, wish: Wish): Promise<Attempt>;
}

/** What attempts need. */
export interface AttemptsDeps {
  readonly accessLog: AccessLog;
  readonly rateLimit: RateLimit;
}

/** Attempts that are limited and recorded. */
export function createAttempts({ accessLog, rateLimit }: AttemptsDeps): Attempts {
  return {
    async begin(call, wish) {
      const verdict = rateLimit.take(limitKey(call));
      const end = (outcome: AccessOutcome, { basis, runId = "", offset }: AttemptEnd, detail: string) =>
        accessLog.append(
          call,
          lineOf(call, wish, {
            outcome,
            runId,
            ...(basis === undefined ? {} : basis),
            ...(offset === undefined ? {} : { offset }),
            detail,
            repeatedCount: BigInt(verdict.repeatedCount),
          }),
        );
      if (!verdict.allowed) {
        const error = tooOften(verdict.retryAfterMs);
        if (verdict.reported) await end(AccessOutcome.RATE_LIMITED, {}, error.message);
        throw error;
      }
      return {
        grant: (granted) => end(AccessOutcome.GRANTED, granted, ""),
        async refuse(outcome, error, refused = {}) {
          await end(outcome, refused, error.message);
          throw error;
        },
      };
    },
  };
}

/** RATE_LIMITED, with `retry_after_ms`. */
export function tooOften(retryAfterMs: number): SignalboxError {
  return new SignalboxError("RATE_LIMITED", `too many requests for artifacts; try again in ${retryAfterMs} ms`, {
    retry_after_ms: String(retryAfterMs),
  });
}

/**
 * Who shares a limit: one identity in one workspace, or one place on the network where nobody says who they are. Those may say
 * whatever workspace they like, so that does not count.
 */
export function limitKey({ workspaceId, principal, remoteAddress = "" }: Omit<Call, "signal">): string {
  if (isAnonymous(principal)) return networkOf(remoteAddress);
  return `${workspaceId} ${principalName(accessIdentity(principal))}`;
}

function lineOf(
  { principal, remoteAddress = "" }: Omit<Call, "signal">,
  { artifactId, method, offset = 0n }: Wish,
  rest: Pick<ArtifactAccess, "outcome" | "runId" | "detail" | "repeatedCount"> & Partial<Basis & { offset: bigint }>,
): ArtifactAccess {
  const who = isAnonymous(principal) ? {} : { principal };
  return create(ArtifactAccessSchema, { artifactId, method, offset, remoteAddress, ...who, ...rest });
}
