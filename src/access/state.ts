import type { AggregateDefinition } from "../eventlog/aggregates.ts";

/** The access log of an artifact and a day as an aggregate. Nothing is decided on it, so nothing of it is kept. */
export const accessLogAggregate: AggregateDefinition<undefined> = {
  type: "artifact_access",
  initial: undefined,
  evolve: () => undefined,
  heldBytes: () => 0,
};
