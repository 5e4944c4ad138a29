import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { chainHash, type EventRecord } from "../eventlog/record.ts";
import { equalBytes } from "../kernel/digest.ts";
import { type Course, createCourse, type EvolveRun } from "./course.ts";
import { eventLine, readEventLine } from "./event-line.ts";
import { eventsPath, maxArtifacts } from "./format.ts";
import { linesOf } from "./lines.ts";
import { BundleProblem } from "./problem.ts";

/** The stream that the events have to be of. */
interface ExpectedStream {
  readonly workspaceId: string;
  readonly runId: string;
}

/**
 * Reads events.jsonl: each stored event hashes, with the hash before it, to its own; each is the next one of the run's stream;
 * and the readable form is what the stored bytes say. Returns what they come to. Throws BundleProblem at the first that is not so.
 */
export async function readEvents(
  bytes: AsyncIterable<Uint8Array>,
  expected: ExpectedStream,
  evolve: EvolveRun,
): Promise<Course> {
  const course = createCourse(evolve);
  const artifactIds = new Set<string>();
  for await (const line of linesOf(eventsPath, bytes)) {
    const place = `${eventsPath}, line ${course.eventCount + 1}`;
    const record = recordOf(line, place);
    requireChained(record, course, place);
    const event = eventOf(record, place);
    requireNext(event, course, expected, place);
    if (!equalBytes(line, lineOf(record, place))) {
      throw new BundleProblem(
        "event",
        place,
        "the readable form is not what the stored bytes say (or a newer Signalbox wrote it: update this one)",
      );
    }
    course.take(record);
    requireNewArtifact(event, artifactIds, place);
  }
  if (course.run === undefined) throw new BundleProblem("event", eventsPath, "there is no event that creates the run");
  return course;
}

function recordOf(line: Uint8Array, place: string): EventRecord {
  try {
    return readEventLine(line);
  } catch (error) {
    throw new BundleProblem("event", place, "this is not a line that Signalbox writes", error);
  }
}

function eventOf(record: EventRecord, place: string): Event {
  try {
    return record.event;
  } catch (error) {
    throw new BundleProblem("event", place, "the stored bytes are no event", error);
  }
}

function lineOf(record: EventRecord, place: string): Uint8Array {
  try {
    return eventLine(record);
  } catch (error) {
    throw new BundleProblem("event", place, "the stored bytes have no readable form", error);
  }
}

function requireChained({ position, prevHash, hash, body }: EventRecord, course: Course, place: string): void {
  if (!equalBytes(prevHash, course.headHash)) {
    throw new BundleProblem(
      "event",
      place,
      "the previous hash is not that of the event before: the chain is broken here",
    );
  }
  if (!equalBytes(hash, chainHash(prevHash, body))) {
    throw new BundleProblem("event", place, "the hash is not that of the stored bytes: the event was changed");
  }
  if (position <= course.headPosition) {
    throw new BundleProblem("event", place, `position ${position} does not come after ${course.headPosition}`);
  }
}

function requireNext(event: Event, course: Course, { workspaceId, runId }: ExpectedStream, place: string): void {
  const { stream, streamSequence } = event;
  if (event.workspaceId !== workspaceId || stream?.type !== "run" || stream.id !== runId) {
    throw new BundleProblem("event", place, `this is no event of run ${runId} in workspace ${workspaceId}`);
  }
  if (streamSequence !== BigInt(course.eventCount) + 1n) {
    throw new BundleProblem("event", place, `this is event ${streamSequence} of the run, not ${course.eventCount + 1}`);
  }
  if ((course.run === undefined) !== (event.payload.case === "runCreated")) {
    throw new BundleProblem("event", place, "the first event of a run, and no other, is its creation");
  }
}

function requireNewArtifact({ payload }: Event, artifactIds: Set<string>, place: string): void {
  if (payload.case !== "runArtifactAdded") return;
  const { artifactId, artifact } = payload.value;
  if (artifact === undefined || !/^art_[0-9A-Za-z]{1,40}$/.test(artifactId) || artifactIds.has(artifactId)) {
    throw new BundleProblem("event", place, "this adds no artifact, or one that was added before");
  }
  artifactIds.add(artifactId);
  if (artifactIds.size > maxArtifacts) {
    throw new BundleProblem("event", place, `the run has more than ${maxArtifacts} artifacts; no bundle does`);
  }
}
