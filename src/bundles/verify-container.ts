import type { ZipReader } from "./zip-reader.ts";
import { BundleProblem } from "./problem.ts";
import { zip, type ZipEntry } from "./zip.ts";

/** What stands before and behind the bytes of a file in the zip beside its name: the local header and the data descriptor. */
const headerBytes = 30;
const descriptorBytes = 16;

/**
 * Makes the zip once more of what is in it and compares byte by byte: nothing may stand between the files, before them or behind
 * them, and no header may say what the files do not. Throws BundleProblem at the first byte that differs.
 */
export async function verifyContainer(reader: ZipReader): Promise<void> {
  let at = 0;
  for await (const expected of zip(entriesOf(reader))) {
    const actual = await reader.slice(at, at + expected.length);
    const different = Buffer.compare(expected, actual) === 0 ? -1 : firstDifference(expected, actual);
    if (different >= 0) throw differs(reader, at + different);
    at += expected.length;
  }
  if (at !== reader.sizeBytes) {
    throw new BundleProblem(
      "container",
      `byte ${at}`,
      `${reader.sizeBytes - at} bytes too many stand at the end of the zip`,
    );
  }
}

async function* entriesOf(reader: ZipReader): AsyncGenerator<ZipEntry, void, void> {
  for (const path of reader.paths) yield { path, bytes: reader.read(path) };
}

function firstDifference(expected: Uint8Array, actual: Uint8Array): number {
  const index = expected.findIndex((byte, i) => byte !== actual[i]);
  return index < 0 ? expected.length : index;
}

function differs(reader: ZipReader, offset: number): BundleProblem {
  const message = `byte ${offset} of the zip, in ${regionOf(reader, offset)}, is not what Signalbox writes for these files`;
  return new BundleProblem("container", `byte ${offset}`, message);
}

function regionOf(reader: ZipReader, offset: number): string {
  let end = 0;
  for (const path of reader.paths) {
    end += headerBytes + Buffer.byteLength(path) + reader.sizeOf(path) + descriptorBytes;
    if (offset < end) return `the entry of ${path}`;
  }
  return "the directory at its end";
}
