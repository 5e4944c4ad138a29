import type { Logger } from "pino";
import type { Nats } from "../eventlog/nats.ts";
import { hasReason, SignalboxError } from "../kernel/errors.ts";
import { requireBlobName } from "./blob-name.ts";
import { BlobMissingError, type BlobStore, type ByteRange, type StoredBlob } from "./blob-store.ts";
import { type AllBlobSubjects, createBlobSubjects } from "./blob-subjects.ts";
import { requireRange } from "./byte-range.ts";
import { type NatsRecords, openNatsRecords } from "./nats-records.ts";
import { regroup, untilAborted } from "./pieces.ts";

/** Half of what a NATS takes in a message unless it is told otherwise. */
const segmentBytes = 512 * 1024;
/** Segments on their way at once: enough to hide the round trip, few enough to be no memory. */
const windowSegments = 4;

/** Where the segments are. */
export interface NatsBlobsOptions {
  readonly nats: Nats;
  /** The stream's name; BLOBS in an installation. */
  readonly stream: string;
  /** The first token of its subjects; `sb` in an installation. */
  readonly prefix: string;
  /** Copies in the cluster: 1, or 3 for durability `replicated`. */
  readonly replicas: number;
  /**
   * A blob that was begun so long ago and is not there is what a crash left behind, and removed at opening. In milliseconds,
   * default an hour: longer than any call lives, because it may be another server's.
   */
  readonly leftOverAgeMs?: number;
  readonly log: Logger;
}

/** What the last record of a blob says. */
interface Layout {
  readonly sizeBytes: number;
  readonly segmentBytes: number;
}

/**
 * A store in a stream of NATS. Each segment has a subject of its own, so that any can be read without those before it; the
 * object store of the client library puts all of an object on one, and reads from its start. STORE_UNAVAILABLE when NATS can
 * not be asked or the stream is configured otherwise.
 */
export async function openNatsBlobs(options: NatsBlobsOptions): Promise<BlobStore> {
  const { nats, stream, prefix, replicas, leftOverAgeMs = 3_600_000, log } = options;
  const subjects = createBlobSubjects(prefix);
  requirePayload(nats);
  const records = await openNatsRecords(nats, { stream, all: subjects.all, replicas });
  const blobs: Blobs = { records, subjects, log };
  await sweep(blobs, Date.now() - leftOverAgeMs);
  return {
    kind: "nats",
    async put(name, bytes, signal) {
      requireBlobName(name);
      await put(blobs, name, bytes, signal);
    },
    read(name, range, signal) {
      requireBlobName(name);
      requireRange(range);
      return read(blobs, name, range, signal);
    },
    async remove(name) {
      requireBlobName(name);
      await removeRecords(blobs, name);
    },
    list: (signal) => list(blobs, signal),
    [Symbol.asyncDispose]: async () => {},
  };
}

interface Blobs {
  readonly records: NatsRecords;
  readonly subjects: AllBlobSubjects;
  readonly log: Logger;
}

function requirePayload({ connection }: Nats): void {
  const largest = connection.info?.max_payload ?? 0;
  if (largest >= 2 * segmentBytes) return;
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    `the NATS server takes messages of ${largest} bytes, artifacts need ${2 * segmentBytes}; raise its max_payload`,
  );
}

/**
 * Begins, sends the segments, and says last that the blob is there. The last record is taken only while the first stands: who
 * clears up writes that one anew, and from then on a writer that was believed dead can not finish.
 */
async function put(
  blobs: Blobs,
  name: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { log } = blobs;
  const { begun, stored } = blobs.subjects.of(name);
  const begin = await blobs.records.send(begun, "");
  try {
    const layout: Layout = { sizeBytes: await sendSegments(blobs, name, bytes, signal), segmentBytes };
    signal?.throwIfAborted();
    await blobs.records.send(stored, JSON.stringify(layout), {
      lastSubjectSequence: begin,
      lastSubjectSequenceSubject: begun,
    });
  } catch (error) {
    // A segment whose answer was lost may come yet: then the record of the beginning stays, and opening looks again.
    const isOver = !hasReason(error, "STORE_UNAVAILABLE");
    await discard(blobs, name, isOver).catch((err: unknown) =>
      log.warn({ err, blob: name }, "a broken blob stays behind"),
    );
    throw error;
  }
  // It is stored all the same; opening removes the record.
  await blobs.records
    .remove(begin)
    .catch((err: unknown) => log.debug({ err, blob: name }, "the record of a stored blob's beginning stays behind"));
}

/** Sends the bytes, a few segments at once, and returns how many there were. Resolves and rejects with nothing on its way. */
async function sendSegments(
  blobs: Blobs,
  name: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { segment } = blobs.subjects.of(name);
  const underWay: Promise<number>[] = [];
  let sizeBytes = 0;
  let index = 0;
  try {
    for await (const piece of regroup(untilAborted(bytes, signal), segmentBytes, windowSegments)) {
      const sending = blobs.records.send(segment(index++), piece);
      // Looked at in order below; one that fails meanwhile is not unhandled.
      sending.catch(() => {});
      underWay.push(sending);
      sizeBytes += piece.length;
      if (underWay.length === windowSegments) await underWay.shift();
    }
    await Promise.all(underWay);
    return sizeBytes;
  } finally {
    await Promise.allSettled(underWay);
  }
}

/**
 * Takes away what there is of a blob that is not to be, its beginning last: what is interrupted is done at the next opening.
 * Unless it `isOver` the beginning stays.
 */
async function discard(blobs: Blobs, name: string, isOver: boolean): Promise<void> {
  const { begun } = blobs.subjects.of(name);
  await fence(blobs, begun);
  await removeRecords(blobs, name);
  if (isOver) await blobs.records.purge(begun);
}

/** From here on whoever began the blob can not finish it. */
async function fence({ records, log }: Blobs, begun: string): Promise<void> {
  try {
    await records.send(begun, "");
  } catch (error) {
    // A stream that is full takes no record, but gives up this one: as good, unless we die before we are done.
    log.debug({ err: error }, "the record of a blob's beginning can not be renewed");
    await records.purge(begun);
  }
}

/** The segments first: a removal that is interrupted leaves a blob that is listed, and can be removed again. */
async function removeRecords(blobs: Blobs, name: string): Promise<void> {
  const { segments, stored } = blobs.subjects.of(name);
  await blobs.records.purge(segments);
  await blobs.records.purge(stored);
}

async function* read(
  blobs: Blobs,
  name: string,
  { from, to }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const subjects = blobs.subjects.of(name);
  const layout = (await blobs.records.get(subjects.stored))?.json<Layout>();
  if (layout === undefined) throw new BlobMissingError(`there is no blob ${name}`);
  if (layout.sizeBytes < to) throw new BlobMissingError(`blob ${name} has no byte ${to - 1}`);
  const size = layout.segmentBytes;
  for (let start = from - (from % size); start < to; start += size) {
    signal?.throwIfAborted();
    const segment = await blobs.records.get(subjects.segment(start / size));
    if (segment === undefined) throw new BlobMissingError(`blob ${name} was removed while it was read`);
    const piece = segment.data.subarray(Math.max(0, from - start), to - start);
    if (piece.length > 0) yield piece;
  }
}

async function* list(blobs: Blobs, signal: AbortSignal | undefined): AsyncGenerator<StoredBlob, void, void> {
  for await (const record of blobs.records.list(blobs.subjects.allStored)) {
    signal?.throwIfAborted();
    const { sizeBytes } = record.json<Layout>();
    yield { name: blobs.subjects.nameIn(record.subject), sizeBytes, storeTime: record.time };
  }
}

async function sweep(blobs: Blobs, before: number): Promise<void> {
  for await (const { subject, time } of blobs.records.list(blobs.subjects.allBegun)) {
    if (time.getTime() > before) continue;
    const name = blobs.subjects.nameIn(subject);
    await fence(blobs, subject);
    // What is not there now will not be any more.
    const stored = await blobs.records.get(blobs.subjects.of(name).stored);
    if (stored === undefined) await removeRecords(blobs, name);
    await blobs.records.purge(subject);
    blobs.log.info({ blob: name, isStored: stored !== undefined }, "cleared up after an interrupted upload");
  }
}
