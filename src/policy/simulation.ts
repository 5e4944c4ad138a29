import { setImmediate } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type PolicyDecision, PolicyContextSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { type PolicyFlip, PolicyFlipSchema } from "../../gen/signalbox/v1/policy_service_pb.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { evaluatePolicy } from "./evaluation.ts";
import { type RecordedDecision, recordedDecision } from "./recorded-decision.ts";

/** A part of the recorded decisions, made again. */
export interface Simulation {
  readonly flips: PolicyFlip[];
  readonly evaluated: bigint;
  /** Everything up to here was looked at. */
  readonly nextPosition: bigint;
  /** True when nothing is left to be looked at. */
  readonly complete: boolean;
}

/** What to go through. */
export interface SimulationOptions {
  readonly policy: CompiledPolicy;
  readonly after: bigint;
  /** Inclusive. */
  readonly upTo: bigint;
  /** Flips at most. */
  readonly size: number;
  /** The next events behind a position, oldest first; empty when there are none. */
  readonly read: (after: bigint) => Promise<readonly Event[]>;
  /** True once it has taken long enough; one event at least is looked at before. */
  readonly isLate: () => boolean;
}

/** Events that one call looks at at most, and how large its answer may grow. */
const maxEvents = 2_000;
const maxBytes = 2 * 1024 * 1024;

/** Makes recorded decisions again, oldest first, until enough of them flip, enough were looked at, or time is up. */
export async function simulate({ policy, after, upTo, size, read, isLate }: SimulationOptions): Promise<Simulation> {
  const flips: PolicyFlip[] = [];
  let evaluated = 0n;
  let bytes = 0;
  let seen = 0;
  let position = after;
  while (seen < maxEvents) {
    const events = await read(position);
    if (events.length === 0) return { flips, evaluated, nextPosition: upTo > after ? upTo : after, complete: true };
    for (const event of events) {
      if (flips.length >= size || bytes >= maxBytes || (seen > 0 && isLate()))
        return { flips, evaluated, nextPosition: position, complete: false };
      position = event.position;
      seen++;
      const recorded = recordedDecision(event);
      if (recorded === undefined) continue;
      evaluated++;
      // Rules that look at large arguments take a while: others have their turn in between.
      await setImmediate();
      const flip = flipOf(policy, recorded);
      if (flip === undefined) continue;
      bytes += toBinary(PolicyFlipSchema, flip).length;
      flips.push(flip);
    }
  }
  return { flips, evaluated, nextPosition: position, complete: false };
}

/** The decision made again with what it rested on. */
export function decideAgain(policy: CompiledPolicy, { decision, payload }: RecordedDecision): PolicyDecision {
  const context = decision.context ?? create(PolicyContextSchema);
  return evaluatePolicy(policy, { ...context, ...(payload === undefined ? {} : { payload }) }, decision.killEpoch);
}

function flipOf(policy: CompiledPolicy, recorded: RecordedDecision): PolicyFlip | undefined {
  const simulated = decideAgain(policy, recorded);
  const { runId, toolCallId, position, decision } = recorded;
  if (simulated.decision === decision.decision) return undefined;
  return create(PolicyFlipSchema, { runId, toolCallId, position, recorded: decision, simulated });
}
