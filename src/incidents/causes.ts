import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { IncidentKind, IncidentSeverity } from "../../gen/signalbox/v1/incident_pb.ts";
import type { LeaseEnd } from "../../gen/signalbox/v1/run_event_pb.ts";
import { PauseReason, RunEndReason, type RunError } from "../../gen/signalbox/v1/run_pb.ts";
import type { Occurrence } from "./occurrence.ts";

/** What an incident says of a run beside what its events say. */
export interface RunFacts {
  readonly roomId: string;
  readonly zone: Zone;
  readonly handler: string;
  /** The name of the tool of a call; empty when the run has no such call. */
  readonly toolOf: (toolCallId: string) => string;
}

/** True for an event that says so little of its run that `occurrencesIn` has to be told the rest. Pure. */
export function concernsRun(event: Event): boolean {
  return exhaustedBy(event) !== undefined || unknownCallsIn(event).length > 0;
}

/** What went wrong, as an event shows: nothing, as a rule. `run` is asked for when `concernsRun` says so. Pure. */
export function occurrencesIn(event: Event, run: RunFacts | undefined): Occurrence[] {
  const { payload } = event;
  if (payload.case === "toolCallGated" || payload.case === "stepFailed") return stopIn(event);
  if (payload.case === "messagePosted") return payload.value.mentionsRefused ? [mentionLoop(event)] : [];
  if (run === undefined) return [];
  const error = exhaustedBy(event);
  return [...(error === undefined ? [] : [exhausted(event, run, error)]), ...unknownOutcomes(event, run)];
}

/** The failure that has used up a run's attempts; undefined when the event says no such thing. */
function exhaustedBy({ payload }: Event): Pick<RunError, "code" | "message"> | undefined {
  const nothing = { code: "", message: "" };
  if (payload.case === "runFailed" && payload.value.endReason === RunEndReason.ATTEMPTS_EXHAUSTED) {
    return payload.value.error ?? nothing;
  }
  if (payload.case === "runPaused" && payload.value.reason === PauseReason.ATTEMPTS_EXHAUSTED) {
    return payload.value.error ?? nothing;
  }
  return undefined;
}

function exhausted(event: Event, { handler }: RunFacts, { code, message }: Pick<RunError, "code" | "message">) {
  return occurrence(event, {
    kind: IncidentKind.ATTEMPTS_EXHAUSTED,
    severity: event.zone === Zone.HIGH_STAKES ? IncidentSeverity.HIGH : IncidentSeverity.MEDIUM,
    cause: causeOf("attempts_exhausted", handler, code),
    title: `Runs of ${handler} use up their attempts${code === "" ? "" : `: ${code}`}`,
    description: `A run of handler ${quoted(handler)} has failed for the last time that its retry policy allows.\n\n${quoted(message)}`,
    links: [{ type: "run", id: event.stream?.id ?? "" }],
  });
}

/** The tool calls that a lease left behind without anybody knowing what they did. */
function unknownCallsIn(event: Event): readonly string[] {
  return leaseIn(event)?.unknownToolCallIds ?? [];
}

function leaseIn({ payload }: Event): LeaseEnd | undefined {
  if (payload.case === "runClaimed") return payload.value.lost;
  return payload.case !== undefined && "lease" in payload.value ? payload.value.lease : undefined;
}

/** One occurrence for each tool. */
function unknownOutcomes(event: Event, { toolOf }: RunFacts): Occurrence[] {
  const calls = Map.groupBy(unknownCallsIn(event), toolOf);
  return [...calls].map(([tool, ids]) =>
    occurrence(event, {
      kind: IncidentKind.OUTCOME_UNKNOWN,
      severity: IncidentSeverity.HIGH,
      cause: causeOf("outcome_unknown", tool),
      title: `Nobody knows what ${tool} has done`,
      description:
        `A worker has called ${quoted(tool)} and was lost before it said what came of it. The run does not go on ` +
        "without knowing: look it up in the system behind the tool, then tell the run with `ReconcileToolCall`.",
      links: [{ type: "run", id: event.stream?.id ?? "" }, ...ids.map((id) => ({ type: "tool_call", id }))],
    }),
  );
}

function stopIn(event: Event): Occurrence[] {
  const { payload } = event;
  if (payload.case === "toolCallGated" && payload.value.approvalId === "") {
    const { decision, tool, toolCallId } = payload.value;
    const epoch = decision?.killEpoch ?? 0n;
    const where = ` The switch was flipped at position ${epoch}.`;
    return [stopped(event, { cause: String(epoch), what: tool, where, link: { type: "tool_call", id: toolCallId } })];
  }
  // A step that asks people records no decision, and so no flip.
  if (payload.case === "stepFailed" && payload.value.error?.code === "KILL_SWITCH_ON") {
    return [stopped(event, { cause: "steps", what: "An approval", where: "", link: undefined })];
  }
  return [];
}

interface Stop {
  readonly cause: string;
  readonly what: string;
  readonly where: string;
  readonly link: Occurrence["links"][number] | undefined;
}

function stopped(event: Event, { cause, what, where, link }: Stop): Occurrence {
  return occurrence(event, {
    kind: IncidentKind.KILL_SWITCH,
    severity: IncidentSeverity.HIGH,
    cause: causeOf("kill_switch", cause),
    title: "A kill switch has stopped external writes",
    description:
      `${quoted(what)} was to write outside while external writes are stopped. \`GetKillSwitch\` lists per run what was ` +
      `stopped where.${where}`,
    links: [{ type: "run", id: event.stream?.id ?? "" }, ...(link === undefined ? [] : [link])],
  });
}

function mentionLoop(event: Event): Occurrence {
  return occurrence(event, {
    kind: IncidentKind.MENTION_LOOP,
    severity: IncidentSeverity.MEDIUM,
    cause: causeOf("mention_loop", event.roomId, event.threadId),
    title: "Agents have mentioned each other too often in a row",
    description:
      "Answers of agents have mentioned agents again and again, without a person in between. The last ones mentioned " +
      "have got no run. Somebody has to say how it goes on.",
    links: [
      { type: "room", id: event.roomId },
      { type: "message", id: event.stream?.id ?? "" },
    ],
  });
}

/** A worker has written under a lease that was not its own any more. Pure. */
export function fencedWrite(workspaceId: string, runId: string, { roomId, zone, handler }: RunFacts): Occurrence {
  return {
    workspaceId,
    roomId,
    zone,
    kind: IncidentKind.FENCED_WRITE,
    severity: IncidentSeverity.LOW,
    cause: causeOf("fenced_write", handler),
    title: clipped(`A worker of ${handler} has written after its lease was over`),
    description:
      `A worker of handler ${quoted(handler)} went on working on a run that had been given to another one, or had ended. ` +
      "Nothing was written. It happens when a worker is cut off or stands still for longer than its lease holds.",
    links: [{ type: "run", id: runId }],
  };
}

/** What was to be executed is not what was held back or approved. Pure. */
export function payloadMismatch(
  workspaceId: string,
  { runId, toolCallId }: { runId: string; toolCallId: string },
  { roomId, zone, handler, toolOf }: RunFacts,
): Occurrence {
  const tool = toolOf(toolCallId);
  return {
    workspaceId,
    roomId,
    zone,
    kind: IncidentKind.HASH_MISMATCH,
    severity: IncidentSeverity.HIGH,
    cause: causeOf("payload_mismatch", handler, tool),
    title: clipped(`${handler} wants to call ${tool} with something else than was held back`),
    description:
      `A run of handler ${quoted(handler)} has asked for the same call of ${quoted(tool)} again, with other arguments than ` +
      "those that people were shown. Nothing was executed.",
    links: [
      { type: "run", id: runId },
      { type: "tool_call", id: toolCallId },
    ],
  };
}

/** A part of the log is not what its hash says. `event` is it, as far as it can be read. Pure. */
export function logDamaged(workspaceId: string, position: bigint, event: Event | undefined): Occurrence {
  return {
    workspaceId,
    roomId: "",
    zone: event?.zone ?? Zone.SANDBOX,
    kind: IncidentKind.HASH_MISMATCH,
    severity: IncidentSeverity.CRITICAL,
    cause: causeOf("log_damaged"),
    title: "The log is not what its hashes say",
    description:
      `The event at position ${position} does not have the hash that was stored with it: somebody or something has ` +
      "changed the log. `signalbox verify` goes through all of it.",
    links: event === undefined ? [] : [{ type: "event", id: event.eventId }],
  };
}

/** Stored bytes that are not what was stored. */
export interface ArtifactDamage {
  readonly workspaceId: string;
  readonly artifactId: string;
  /** Empty for none. */
  readonly runId: string;
  /** Names the blob or the key, for operators. */
  readonly detail: string;
}

/** The bytes of an artifact are not what was stored, or can not be had any more. Pure. */
export function artifactDamaged(
  { workspaceId, artifactId, runId, detail }: ArtifactDamage,
  run: Pick<RunFacts, "roomId" | "zone"> | undefined,
): Occurrence {
  return {
    workspaceId,
    roomId: run?.roomId ?? "",
    zone: run?.zone ?? Zone.SANDBOX,
    kind: IncidentKind.HASH_MISMATCH,
    severity: IncidentSeverity.HIGH,
    cause: causeOf("artifact_damaged", artifactId),
    title: `The bytes of ${artifactId} are damaged`,
    description:
      `What is stored of artifact ${artifactId} is not what was stored: ${quoted(detail)}. Nobody is given any of it. ` +
      "Restore the store from a backup, or have the artifact produced again.",
    links: [{ type: "artifact", id: artifactId }, ...(run === undefined ? [] : [{ type: "run", id: runId }])],
  };
}

/** The read models stand still behind `event`, the first of a workspace that they do not have. Pure. */
export function projectorStalled(event: Event, checkpoint: bigint): Occurrence {
  return {
    workspaceId: event.workspaceId,
    roomId: "",
    zone: event.zone,
    kind: IncidentKind.PROJECTOR_STALLED,
    severity: IncidentSeverity.HIGH,
    cause: causeOf("projector_stalled"),
    title: "The read models stand still",
    description:
      `Lists and searches show nothing that came after position ${checkpoint}. Runs go on, and the log has everything. ` +
      "Look at the process with the role `projector` and at its log.",
    links: [{ type: "event", id: event.eventId }],
  };
}

/** What an occurrence has of its event. */
function occurrence(
  { workspaceId, roomId, zone, eventId }: Event,
  found: Omit<Occurrence, "workspaceId" | "roomId" | "zone">,
): Occurrence {
  const links = [...found.links, { type: "event", id: eventId }];
  return { ...found, workspaceId, roomId, zone, title: clipped(found.title), links };
}

/** Parts of whatever origin as one line: no part runs into the next, and Postgres holds every character of it. */
function causeOf(...parts: string[]): string {
  return parts.map(encodeURIComponent).join("/");
}

/** As much of a title as a title may have. */
function clipped(title: string): string {
  return title.slice(0, 300).toWellFormed();
}

/** Somebody else's words as Markdown that shows them and does nothing else. */
function quoted(words: string): string {
  return `\`${words
    .replaceAll(/[`\s]+/g, " ")
    .slice(0, 1_000)
    .toWellFormed()}\``;
}
