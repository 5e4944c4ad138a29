import { fromJson, type JsonValue as ProtoJson, toJson } from "@bufbuild/protobuf";
import { z } from "zod";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { downloadBytes } from "../engine/artifact-download.ts";
import { outputIn } from "../engine/step-outputs.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import { chainHash, encodeBody, genesisHash } from "../eventlog/record.ts";
import type { EventLog } from "../eventlog/event-log.ts";

/** A run as its events tell it, in JSON: to be kept in a file beside a test. */
export interface Recording {
  readonly version: 1;
  readonly runId: string;
  readonly workspaceId: string;
  /** The run's events in order, in the JSON form of the contract. */
  readonly events: readonly ProtoJson[];
}

const recordingSchema = z.object({
  version: z.literal(1),
  runId: z.string(),
  workspaceId: z.string(),
  events: z.array(z.json()).min(1),
});

/**
 * The record of a run that has ended, with the outputs of steps that artifacts have. Throws when it is still open: there is nothing
 * yet to compare a replay with.
 */
export async function recordRun(
  client: Pick<SignalboxClient, "events" | "artifacts">,
  runId: string,
): Promise<Recording> {
  const events: Event[] = [];
  for (let afterPosition = 0n; ;) {
    const page = await client.events.listEvents({ filter: { runId }, afterPosition, pageSize: 200 });
    for (const event of page.events) events.push(await withOutput(client.artifacts, event));
    if (page.complete) break;
    if (page.events.length === 0) throw new Error(`run ${runId} has not ended; record it when it has`);
    afterPosition = page.nextPosition;
  }
  const workspaceId = events[0]?.workspaceId ?? "";
  return { version: 1, runId, workspaceId, events: events.map((event) => toJson(EventSchema, event)) };
}

/** The event with its output in it, wherever that is: a recording stands for itself. */
async function withOutput(artifacts: SignalboxClient["artifacts"], event: Event): Promise<Event> {
  const { payload } = event;
  if (payload.case !== "stepCompleted" && payload.case !== "stepReused") return event;
  const { outputArtifactId } = payload.value;
  if (outputArtifactId === "") return event;
  payload.value.output = outputIn(await downloadBytes(artifacts, outputArtifactId));
  payload.value.outputArtifactId = "";
  return event;
}

/** What a recording says. Throws an error that says how when it is none. */
export function readRecording(recording: unknown): {
  readonly runId: string;
  readonly workspaceId: string;
  readonly events: Event[];
} {
  const { runId, workspaceId, events } = recordingSchema.parse(recording);
  return { runId, workspaceId, events: events.map((json) => fromJson(EventSchema, json)) };
}

/** Writes the events up to the run's end, that one left out, to an empty log, and returns that end. */
export async function importUnended(log: EventLog, events: readonly Event[]): Promise<Event> {
  let prevHash: Uint8Array = genesisHash;
  let expectPosition = 0n;
  for (const recorded of events) {
    if (terminalRunTypes.has(recorded.type)) return recorded;
    const event = stored(recorded);
    const body = encodeBody(event);
    const hash = chainHash(prevHash, body);
    const { type = "", id = "" } = event.stream ?? {};
    const subject = log.subjects.of({ workspaceId: event.workspaceId, type, id }, event.roomId);
    const record = await log.append({
      subject,
      eventId: event.eventId,
      body,
      prevHash,
      hash,
      expectPosition,
      filter: subject,
    });
    if (record === undefined)
      throw new Error("the log is not empty: a recording can be replayed in one of its own only");
    prevHash = hash;
    expectPosition = record.position;
  }
  throw new Error("the recording has no end of the run: record a run that has ended");
}

/** The event without what the log adds to it. */
function stored(event: Event): Event {
  const none = new Uint8Array();
  return { ...event, position: 0n, prevHash: none, hash: none };
}
