import { Decrypter } from "age-encryption";
import type { DownloadHeader, SealedFile } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { sealedSize } from "../sealing/format.ts";
import { openSealed } from "../sealing/open-sealed.ts";
import { createPieces, type Pieces } from "../sealing/pieces.ts";
import { createCheck } from "./artifact-check.ts";
import type { SignalboxClient } from "./clients.ts";
import { openFrames } from "./download-frames.ts";

/** Who opens a sealed artifact. */
export interface OpenSealedOptions {
  /** What an age identity file holds: `AGE-SECRET-KEY-1…`, one per line; lines with `#` are left out. It stays here. */
  readonly identity: string;
  /** Ends the download. */
  readonly signal?: AbortSignal | undefined;
}

/** The identity is none, or not that of the artifact's recipient. */
export class WrongIdentityError extends Error {
  override readonly name = "WrongIdentityError";
}

/**
 * The bytes of an artifact that is sealed to a recipient, opened here: the server can not. Nothing comes out that was not sealed
 * there: SealBrokenError before the first piece that is not. Throws WrongIdentityError, what the contract says of DownloadArtifact,
 * and after the last byte ArtifactMismatchError when all of them are not those on record. Does not go on by itself when the
 * connection breaks.
 */
export async function* openSealedArtifact(
  { artifacts }: Pick<SignalboxClient, "artifacts">,
  artifactId: string,
  { identity, signal }: OpenSealedOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const decrypter = decrypterOf(identity);
  const stop = new AbortController();
  const call = { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) };
  try {
    const { header, data } = await openFrames(artifacts.downloadArtifact({ artifactId, sealed: true }, call));
    yield* opened(header, data, decrypter);
  } finally {
    stop.abort();
  }
}

async function* opened(
  { artifact, sealed }: DownloadHeader,
  data: AsyncIterable<Uint8Array>,
  decrypter: Decrypter,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (artifact === undefined || sealed === undefined)
    throw new Error("the header of the download is not of a sealed file");
  const key = await unwrap(sealed, decrypter);
  const check = createCheck();
  await using pieces = createPieces(data);
  for (const { blob, sizeBytes } of sealed.parts) {
    const size = Number(sizeBytes);
    const part = openSealed({ key, context: blob, sizeBytes: size }, { from: 0, to: size }, () => {
      return taken(pieces, sealedSize(size));
    });
    for await (const piece of part) {
      check.add(piece);
      yield piece;
    }
  }
  await pieces.end();
  check.end(artifact);
}

/** The next bytes, no further ahead than the reader. */
async function* taken(pieces: Pieces, length: number): AsyncGenerator<Uint8Array> {
  for (let missing = length; missing > 0;) {
    const some = Math.min(missing, portionBytes);
    yield* await pieces.take(some, (piece) => piece);
    missing -= some;
  }
}

const portionBytes = 65_536;

function decrypterOf(identity: string): Decrypter {
  const lines = identity.split("\n").map((line) => line.trim());
  const identities = lines.filter((line) => line !== "" && !line.startsWith("#"));
  const decrypter = new Decrypter();
  try {
    for (const line of identities) decrypter.addIdentity(line);
  } catch (error) {
    throw new WrongIdentityError("this is no age identity; give what age-keygen writes: AGE-SECRET-KEY-1…", {
      cause: error,
    });
  }
  if (identities.length > 0) return decrypter;
  throw new WrongIdentityError("there is no age identity; give what age-keygen writes: AGE-SECRET-KEY-1…");
}

async function unwrap({ wrappedKey }: SealedFile, decrypter: Decrypter): Promise<Uint8Array> {
  try {
    return await decrypter.decrypt(wrappedKey);
  } catch (error) {
    throw new WrongIdentityError("the artifact is sealed to a recipient of another identity", { cause: error });
  }
}
