import { type Suite, SuiteStatus } from "../../gen/signalbox/v1/eval_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { evolveSuite } from "./resource.ts";

/** What decisions about a suite rest on. */
export type SuiteState =
  | { readonly status: "absent" }
  | { readonly status: "active" | "archived"; readonly suite: Suite };

/** Versions of which the state keeps one only count with this much at most: the cache must not lose a suite for its history. */
const heldBytesPerVersion = 64 * 1024;

/** Suites as aggregates. */
export const suiteAggregate: AggregateDefinition<SuiteState> = {
  type: "suite",
  initial: { status: "absent" },
  evolve: evolveSuiteState,
  heldBytes: (_event, sizeBytes) => Math.min(sizeBytes, heldBytesPerVersion),
};

/** The state after one more event. Pure. */
export function evolveSuiteState(state: SuiteState, event: Event): SuiteState {
  const suite = evolveSuite(state.status === "absent" ? undefined : state.suite, event);
  if (suite === undefined) return state;
  return { status: suite.status === SuiteStatus.ARCHIVED ? "archived" : "active", suite };
}
