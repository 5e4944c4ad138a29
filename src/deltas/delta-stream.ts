import { DiscardPolicy, JetStreamError, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Nats } from "../eventlog/nats.ts";
import type { StreamSettings } from "../eventlog/streams.ts";
import type { DeltaSubjects } from "./delta-subjects.ts";

/** How long output is kept for those who come late, and how much of one run and of all. */
const maxAgeMs = 5 * 60_000;
const maxPiecesPerRun = 1_000;
const maxBytes = 64 * 1024 * 1024;

/** How much one read asks for; a single larger piece still comes. */
const readPieces = 500;
const readBytes = 1024 * 1024;
const nothingFound = 404;

/** A piece of output as the stream has it. */
export interface KeptDelta {
  /** Its number in the stream. */
  readonly sequence: number;
  /** A RunDelta. */
  readonly body: Uint8Array;
}

/**
 * Memory storage and one copy: what is lost here was not recorded anywhere else either, and what counts is. What the stream
 * takes it publishes again with its number, so that who reads and then listens finds the seam.
 */
export function deltasStream(name: string, { all, allLive }: DeltaSubjects): StreamSettings {
  return {
    name,
    subjects: [all],
    storage: StorageType.Memory,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: nanos(maxAgeMs),
    max_bytes: maxBytes,
    max_msgs_per_subject: maxPiecesPerRun,
    num_replicas: 1,
    allow_direct: true,
    republish: { src: all, dest: allLive },
  };
}

/** What is kept of a filter behind a number, in order. Throws when the stream can not be read. */
export async function* readKept(
  { jsm }: Nats,
  stream: string,
  filter: string,
  after: number,
): AsyncGenerator<KeptDelta, void, void> {
  for (let cursor = after, found = 1; found > 0;) {
    found = 0;
    try {
      const limits = { batch: readPieces, max_bytes: readBytes };
      const messages = await jsm.direct.getBatch(stream, { seq: cursor + 1, next_by_subj: filter, ...limits });
      for await (const { seq, data } of messages) {
        yield { sequence: seq, body: data };
        cursor = seq;
        found++;
      }
    } catch (error) {
      if (error instanceof JetStreamError && "code" in error && error.code === nothingFound) return;
      throw error;
    }
  }
}
