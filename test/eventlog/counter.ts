import { create } from "@bufbuild/protobuf";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { RunCreatedSchema, StepStartedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import {
  type AggregateDefinition,
  type Aggregates,
  createAggregates,
  type Draft,
} from "../../src/eventlog/aggregates.ts";
import type { EventLog } from "../../src/eventlog/event-log.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { type IdSource, randomIds } from "../../src/kernel/ids.ts";

/** The smallest aggregate that can go wrong: a set of keys, each taken once, closed by the key "close". */
export interface Counter {
  readonly exists: boolean;
  readonly keys: readonly string[];
}

const definition: AggregateDefinition<Counter> = {
  type: "run",
  initial: { exists: false, keys: [] },
  evolve: (state, { payload }) => {
    if (payload.case === "runCreated") return { ...state, exists: true };
    return payload.case === "stepStarted" ? { ...state, keys: [...state.keys, payload.value.key] } : state;
  },
};

/** Counters as one server has them: with a cache of its own. */
export function createCounters(log: EventLog, ids: IdSource = randomIds): Aggregates<Counter> {
  return createAggregates(definition, { log, clock: systemClock, ids });
}

/** A call by nobody in particular. */
export const call = {
  workspaceId: "ws_test",
  principal: { $typeName: "signalbox.v1.Principal" as const, type: PrincipalType.USER, id: "tester", onBehalfOf: [] },
  correlationId: "corr_test",
  traceparent: "",
};

/** Creates a counter; nothing when it exists. */
export function open(state: Counter): Draft | undefined {
  if (state.exists) return undefined;
  return { payload: { case: "runCreated", value: create(RunCreatedSchema, { handler: "count" }) }, zone: Zone.SANDBOX };
}

/** Takes a key; nothing when it is taken; throws when the counter is closed or not there. */
export function take(key: string): (state: Counter) => Draft | undefined {
  return ({ exists, keys }) => {
    if (keys.includes(key)) return undefined;
    if (!exists) throw new Error("absent");
    if (keys.includes("close")) throw new Error("closed");
    return { payload: { case: "stepStarted", value: create(StepStartedSchema, { key }) }, zone: Zone.SANDBOX };
  };
}
