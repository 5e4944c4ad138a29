import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { RunCreatedSchema, StepCompletedSchema, StepStartedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { EventLog } from "../../src/eventlog/event-log.ts";
import { type EventPayload, eventTypes } from "../../src/eventlog/event-type.ts";
import type { Publication } from "../../src/eventlog/log-store.ts";
import { chainHash, encodeBody, type EventRecord, genesisHash } from "../../src/eventlog/record.ts";
import type { Subjects } from "../../src/eventlog/subjects.ts";

/** An aggregate of a test; what is left out is a run outside of every room in workspace ws_test. */
export interface TestStream {
  readonly id: string;
  readonly type?: string;
  readonly roomId?: string;
  readonly workspaceId?: string;
}

/** Writes events of aggregates, each chained to the one before. One writer per aggregate. */
export interface Appender {
  /** The publication that follows on the aggregate's newest event, without writing it. */
  publication(stream: TestStream, payload?: EventPayload): Publication;
  /** Appends the next event; by default a run is created, then makes steps that start and complete in turns. */
  append(stream: TestStream, payload?: EventPayload): Promise<EventRecord>;
}

interface Head {
  readonly position: bigint;
  readonly sequence: bigint;
  readonly hash: Uint8Array;
}

/** Milliseconds since the epoch of an aggregate's first event; each further one comes a second later. */
const firstEventMs = Date.UTC(2026, 0, 1);

/** Writes to a log on which nobody else writes the same aggregates. */
export function createAppender(log: Pick<EventLog, "append" | "subjects">): Appender {
  const heads = new Map<string, Head>();
  const headOf = (stream: TestStream): Head =>
    heads.get(keyOf(stream)) ?? { position: 0n, sequence: 0n, hash: genesisHash };
  const publication = (stream: TestStream, payload?: EventPayload) =>
    follow(log.subjects, headOf(stream), stream, payload);
  return {
    publication,
    async append(stream, payload) {
      const record = await log.append(publication(stream, payload));
      if (record === undefined) throw new Error(`somebody else writes ${keyOf(stream)}`);
      const { position, hash } = record;
      heads.set(keyOf(stream), { position, hash, sequence: headOf(stream).sequence + 1n });
      return record;
    },
  };
}

function keyOf({ workspaceId = "ws_test", type = "run", id }: TestStream): string {
  return `${workspaceId}/${type}/${id}`;
}

function follow(
  subjects: Subjects,
  head: Head,
  stream: TestStream,
  payload = defaultPayload(head.sequence),
): Publication {
  const { workspaceId = "ws_test", type = "run", id, roomId = "" } = stream;
  const eventId = randomUUID();
  const body = encodeBody(
    create(EventSchema, {
      eventId,
      workspaceId,
      roomId,
      stream: { type, id },
      streamSequence: head.sequence + 1n,
      type: eventTypes[payload.case],
      actor: { type: PrincipalType.USER, id: "tester" },
      zone: Zone.SANDBOX,
      correlationId: "corr_test",
      createTime: timestampFromMs(firstEventMs + 1_000 * Number(head.sequence)),
      payload,
    }),
  );
  const subject = subjects.of({ workspaceId, type, id }, roomId);
  return {
    subject,
    eventId,
    body,
    prevHash: head.hash,
    hash: chainHash(head.hash, body),
    expectPosition: head.position,
    filter: subject,
  };
}

function defaultPayload(sequence: bigint): EventPayload {
  if (sequence === 0n)
    return { case: "runCreated", value: create(RunCreatedSchema, { handler: "echo", queue: "default" }) };
  const stepId = `step_${(sequence + 1n) / 2n}`;
  return sequence % 2n === 1n
    ? { case: "stepStarted", value: create(StepStartedSchema, { stepId, key: stepId, name: stepId }) }
    : { case: "stepCompleted", value: create(StepCompletedSchema, { stepId }) };
}
