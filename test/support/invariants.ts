import { fromBinary } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { StoredMessage } from "../../src/eventlog/record.ts";
import type { Verification } from "../../src/readmodel/verify.ts";
import type { Operation } from "./history.ts";
import { checkChains } from "./invariants/chains.ts";
import { checkHealth, type Healed } from "./invariants/health.ts";
import { checkLimits } from "./invariants/limits.ts";
import { checkOperations } from "./invariants/operations.ts";
import { checkOrder } from "./invariants/order.ts";
import { checkReadModels } from "./invariants/read-models.ts";
import { checkRepeats } from "./invariants/repeats.ts";
import { checkRuns } from "./invariants/runs.ts";
import { checkRecordings } from "./invariants/recordings.ts";
import { checkSubstance, countWhatHappened, type Substance } from "./invariants/substance.ts";
import type { Recording } from "./recorded-subscription.ts";

/** What is known of a run of the system when it is over. */
export interface Evidence {
  /** Everything in the log as stored, in order. */
  readonly log: readonly StoredMessage[];
  /** What clients and workers did. */
  readonly operations: readonly Operation[];
  /** What subscribers and pollers got, up to the log's end. */
  readonly recordings?: readonly Recording[];
  /** How the read models compare with the log. */
  readonly readModels?: Pick<Verification, "differences">;
  /** How things stood after the last fault was healed. */
  readonly healed?: Healed;
  /** What must have happened for the rest to mean something. */
  readonly substance?: Substance;
}

/** A broken invariant of reliability.md, or I15: no limit of a queue is exceeded. */
export interface Violation {
  /** For example `I4`. */
  readonly invariant: string;
  /** The operation, event, subscriber or row that shows it. */
  readonly at: string;
  readonly problem: string;
}

/** One event of the log, decoded from its stored bytes. */
export interface LogEvent {
  readonly stored: StoredMessage;
  readonly event: Event;
  readonly position: bigint;
  /** The aggregate: workspace, type and id. */
  readonly stream: string;
  /** How a violation names it. */
  readonly name: string;
}

/** Every broken invariant that the evidence shows; empty when all hold. What is not in evidence is not checked. */
export function checkInvariants(evidence: Evidence): Violation[] {
  const { operations, recordings = [], readModels, healed, substance } = evidence;
  const log = decodeLog(evidence.log);
  return [
    ...checkOperations(log, operations),
    ...checkOrder(log, operations),
    ...checkChains(log),
    ...checkRuns(log),
    ...checkLimits(log),
    ...(readModels === undefined ? [] : checkReadModels(readModels)),
    ...checkRecordings(log, recordings),
    ...checkRepeats(operations),
    ...(healed === undefined ? [] : checkHealth(log, healed)),
    ...(substance === undefined ? [] : checkSubstance(countWhatHappened(log, operations), substance)),
  ];
}

/** One line for each violation, for people; at most `most` of them. */
export function describeViolations(violations: readonly Violation[], most = 20): string {
  const lines = violations.slice(0, most).map(({ invariant, at, problem }) => `${invariant} ${at}: ${problem}`);
  const left = violations.length - lines.length;
  return [...lines, ...(left > 0 ? [`… and ${left} more`] : [])].join("\n");
}

/** The log with every event decoded from its stored bytes. */
export function decodeLog(log: readonly StoredMessage[]): LogEvent[] {
  return log.map(decode);
}

function decode(stored: StoredMessage): LogEvent {
  const event = fromBinary(EventSchema, stored.body);
  const stream = `${event.workspaceId}/${event.stream?.type}/${event.stream?.id}`;
  return {
    stored,
    event,
    position: stored.position,
    stream,
    name: `event ${stored.position} (${event.type} of ${stream})`,
  };
}
