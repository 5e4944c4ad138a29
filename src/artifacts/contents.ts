import type { BlobStore, ByteRange } from "../blobs/blob-store.ts";
import type { KeyLookup, KeyRing } from "../keys/key-ring.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { createMeter } from "./meter.ts";
import { PartBrokenError, readParts, readStoredParts, type SealedPart } from "./sealed-parts.ts";
import { isAvailable, type KnownArtifact } from "./state.ts";

/** What a recipient gets: the bytes as they are stored, and the key that only they can open. */
export interface SealedContents {
  /** An age file. */
  readonly wrappedKey: Uint8Array;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** The bytes of recorded artifacts. Who may have them is for others to say. */
export interface Contents {
  /**
   * A part of an artifact's bytes, in pieces of up to 64 KiB; the whole without a range. Nothing comes out that is not what was
   * stored: ARTIFACT_CORRUPT before the first byte that is not. ARTIFACT_EXPIRED when it is not available, INVALID_STATE when
   * only its recipient can open it, both before the first byte: opening resolves when the first piece can be read. Once the key is
   * destroyed, who reads on gets ARTIFACT_EXPIRED within 5 seconds. What was opened has to be read to its end, or left by `return`. Each piece is its reader's own, who may release it.
   */
  open(known: KnownArtifact, range?: ByteRange, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /**
   * The sealed bytes of an artifact that has a recipient, opened as above. ARTIFACT_EXPIRED, ARTIFACT_CORRUPT, INVALID_STATE
   * without a recipient.
   */
  openSealed(known: KnownArtifact, signal?: AbortSignal): Promise<SealedContents>;
}

/** What should not have happened to stored bytes. */
export interface Damage {
  readonly workspaceId: string;
  readonly artifactId: string;
  /** Empty for none. */
  readonly runId: string;
  /** Names the blob or the key, for operators. */
  readonly detail: string;
}

/** Is told of damage. Never throws and never waits. */
export type Alarm = (damage: Damage) => void;

/** What reading needs. */
export interface ContentsDeps {
  readonly blobs: Pick<BlobStore, "read">;
  readonly keys: Pick<KeyRing, "open">;
  readonly alarm: Alarm;
  readonly clock: Clock;
}

/** How long a slow reader goes on with a key that may have been destroyed meanwhile. */
const lookAgainMs = 5_000;

/** Reads artifacts from the store, and tells the alarm of what it finds damaged. */
export function createContents({ blobs, keys, alarm, clock }: ContentsDeps): Contents {
  function corrupt({ artifact }: KnownArtifact, detail: string, cause?: unknown): SignalboxError {
    const { workspaceId, artifactId, runId } = artifact;
    alarm({ workspaceId, artifactId, runId, detail });
    const message = `the stored bytes of ${artifactId} are damaged; its producer has to store them again`;
    return new SignalboxError("ARTIFACT_CORRUPT", message, { artifact_id: artifactId }, cause);
  }

  async function lookUp(known: KnownArtifact): Promise<Exclude<KeyLookup, { state: "destroyed" | "missing" }>> {
    const { workspaceId, artifactId } = known.artifact;
    if (!isAvailable(known, clock.now())) throw expired(known);
    const found = await keys.open(workspaceId, artifactId);
    if (found.state === "destroyed") throw expired(known);
    if (found.state === "missing") throw corrupt(known, "its key is gone, though nobody destroyed it");
    return found;
  }

  async function* watched(known: KnownArtifact, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { workspaceId, artifactId } = known.artifact;
    let lookedMs = clock.now().getTime();
    try {
      for await (const piece of bytes) {
        yield piece;
        const nowMs = clock.now().getTime();
        if (nowMs - lookedMs < lookAgainMs) continue;
        lookedMs = nowMs;
        // A file that is open can be read to its end long after it was removed.
        if ((await keys.open(workspaceId, artifactId)).state === "destroyed") throw expired(known);
      }
    } catch (error) {
      if (!(error instanceof PartBrokenError)) throw error;
      // Destroyed while it was read: its blobs go after its key.
      const key = await keys.open(workspaceId, artifactId);
      throw key.state === "destroyed" ? expired(known) : corrupt(known, error.message, error);
    }
  }

  return {
    async open(known, range, signal) {
      const found = await lookUp(known);
      if (found.state === "sealed") throw onlyForRecipient(known);
      const size = Number(known.artifact.sizeBytes);
      const wanted = range ?? { from: 0, to: size };
      const bytes = watched(known, readParts(blobs, found.key, sealedParts(known), wanted, signal));
      if (wanted.from > 0 || wanted.to < size) return begun(bytes);
      const whole = checked(bytes, known, (detail) => corrupt(known, detail));
      return begun(whole);
    },
    async openSealed(known, signal) {
      const found = await lookUp(known);
      if (found.state === "open") throw noRecipient(known);
      const bytes = watched(known, readStoredParts(blobs, sealedParts(known), signal));
      return { wrappedKey: found.wrappedKey, bytes: await begun(bytes) };
    },
  };
}

/**
 * All bytes of an artifact, held against what is on record of them. The last piece comes when all of them are right: whoever
 * waits for so many bytes and no more would not learn of anything behind them.
 */
async function* checked(
  bytes: AsyncIterable<Uint8Array>,
  { artifact }: KnownArtifact,
  corrupt: (detail: string) => Error,
): AsyncGenerator<Uint8Array> {
  const meter = createMeter({
    maxBytes: Number(artifact.sizeBytes),
    exceeded: () => corrupt(`its parts have more than ${artifact.sizeBytes} bytes`),
    verify({ sha256 }) {
      if (sha256 !== artifact.sha256) throw corrupt(`its parts have the SHA-256 ${sha256}, not ${artifact.sha256}`);
    },
  });
  let held: Uint8Array | undefined;
  for await (const piece of meter.through(bytes)) {
    if (held !== undefined) yield held;
    held = piece;
  }
  if (held !== undefined) yield held;
}

/** The same items, once the first one is there. By hand: a generator that nobody began does not close its source. */
async function begun<T>(source: AsyncGenerator<T>): Promise<AsyncGenerator<T>> {
  let first: IteratorResult<T> | undefined = await source.next();
  const next = () => {
    const result = first;
    first = undefined;
    return result === undefined ? source.next() : Promise.resolve(result);
  };
  const generator: AsyncGenerator<T> = {
    next,
    return: (value) => source.return(value),
    throw: (error) => source.throw(error),
    [Symbol.asyncIterator]: () => generator,
    [Symbol.asyncDispose]: async () => void (await source.return(undefined)),
  };
  return generator;
}

function sealedParts({ parts }: KnownArtifact): SealedPart[] {
  return parts.map(({ blob, sizeBytes }) => ({ blob, sizeBytes: Number(sizeBytes) }));
}

function expired({ artifact }: KnownArtifact): SignalboxError {
  const message = `the bytes of ${artifact.artifactId} are gone: it was deleted, its time is over, or its keys were destroyed`;
  return new SignalboxError("ARTIFACT_EXPIRED", message, { artifact_id: artifact.artifactId });
}

function onlyForRecipient({ artifact }: KnownArtifact): SignalboxError {
  const message = `${artifact.artifactId} is sealed to its recipient; ask for the sealed bytes and open them there`;
  return new SignalboxError("INVALID_STATE", message, { artifact_id: artifact.artifactId });
}

function noRecipient({ artifact }: KnownArtifact): SignalboxError {
  const message = `${artifact.artifactId} has no recipient; ask for its bytes without \`sealed\``;
  return new SignalboxError("INVALID_STATE", message, { artifact_id: artifact.artifactId });
}
