import { type FileHandle, open } from "node:fs/promises";
import { callbackify } from "node:util";
import yauzl, { type Entry, type ZipFile } from "yauzl";
import { maxArtifacts } from "./format.ts";
import { BundleProblem } from "./problem.ts";

const maxFiles = maxArtifacts + 3;
const maxNameBytes = 400;
const readBytes = 64 * 1024;

/** A zip from who knows where, of which only the directory has been read. */
export interface ZipReader extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Its files, in the order of the directory; no two of the same name. */
  readonly paths: readonly string[];
  /** The size of a file, in bytes; no larger than the zip. */
  sizeOf(path: string): number;
  /** A file's bytes. */
  read(path: string): AsyncGenerator<Uint8Array, void, void>;
  /** The zip's own bytes from one place up to, not including, another one; fewer where it ends. */
  slice(from: number, to: number): Promise<Uint8Array>;
}

/** Opens a zip. Throws BundleProblem for what is none, or none that we would write: packed, encrypted, with names that lead away. */
export async function openZipReader(path: string): Promise<ZipReader> {
  await using opening = new AsyncDisposableStack();
  const file = opening.use(await open(path));
  const { size: sizeBytes } = await file.stat();
  const directory = await guarded(() =>
    yauzl.fromRandomAccessReaderPromise(new BoundedReader(file, sizeBytes), sizeBytes, {
      autoClose: false,
      strictFileNames: true,
    }),
  );
  const entries = await readEntries(directory, sizeBytes);
  const entryOf = (name: string) => {
    const entry = entries.get(name);
    if (entry === undefined) throw new BundleProblem("zip", name, `${name} is not in the zip`);
    return entry;
  };
  const opened = opening.move();
  return {
    sizeBytes,
    paths: [...entries.keys()],
    sizeOf: (name) => entryOf(name).uncompressedSize,
    slice: (from, to) => readSlice(file, from, to),
    async *read(name) {
      const entry = entryOf(name);
      const { fileDataStart } = await guarded(() => directory.readLocalFileHeaderPromise(entry, { minimal: true }));
      const end = fileDataStart + entry.uncompressedSize;
      for (let from = fileDataStart; from < end; from += readBytes) {
        yield await readSlice(file, from, Math.min(end, from + readBytes));
      }
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function readEntries(directory: ZipFile, sizeBytes: number): Promise<ReadonlyMap<string, Entry>> {
  const { entryCount } = directory;
  if (entryCount > maxFiles) {
    throw new BundleProblem("zip", "directory", `the zip has ${entryCount} files; a bundle has ${maxFiles} at most`);
  }
  const entries = new Map<string, Entry>();
  let totalBytes = 0;
  await guarded(async () => {
    for await (const entry of directory.eachEntry()) {
      requireHarmless(entry);
      if (entries.has(entry.fileName)) {
        throw new BundleProblem("zip", entry.fileName, `the zip has two files named ${entry.fileName}`);
      }
      entries.set(entry.fileName, entry);
      totalBytes += entry.uncompressedSize;
      // Nothing is packed, so all that the files claim must be there, once.
      if (totalBytes > sizeBytes) {
        throw new BundleProblem("zip", entry.fileName, "the files of the zip claim to be larger than the zip itself");
      }
    }
  });
  return entries;
}

function requireHarmless(entry: Entry): void {
  const { fileName } = entry;
  if (entry.fileNameLength > maxNameBytes || entry.extraFieldLength > maxNameBytes || entry.fileCommentLength > 0) {
    throw new BundleProblem(
      "zip",
      "directory",
      "a file of the zip has a name, extra field or comment that no bundle has",
    );
  }
  if (entry.isEncrypted() || entry.compressionMethod !== 0) {
    throw new BundleProblem(
      "zip",
      fileName,
      `${fileName} is packed or encrypted; a bundle stores its files as they are`,
    );
  }
}

/** What the zip reader says about a zip that is none. Trouble with the disk comes out as it is. */
async function guarded<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof BundleProblem || !(error instanceof Error) || "code" in error) throw error;
    throw new BundleProblem(
      "zip",
      "zip",
      `this is no zip, or one that was cut off or changed: ${error.message}`,
      error,
    );
  }
}

async function readSlice(file: FileHandle, from: number, to: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(to - from);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, from + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

/** Reads from a file for yauzl. Offsets come from the zip: node throws, where nobody catches it, at those beyond 2^53. */
class BoundedReader extends yauzl.RandomAccessReader {
  readonly #file: FileHandle;
  readonly #sizeBytes: number;

  constructor(file: FileHandle, sizeBytes: number) {
    super();
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  override read(buffer: Buffer, offset: number, length: number, position: number, done: (error: Error | null) => void) {
    callbackify(() => this.#fill(buffer.subarray(offset, offset + length), position))(done);
  }

  async #fill(target: Buffer, position: number): Promise<void> {
    if (position + target.length > this.#sizeBytes) throw new Error("it leads beyond its own end");
    target.set(await readSlice(this.#file, position, position + target.length));
  }
}
