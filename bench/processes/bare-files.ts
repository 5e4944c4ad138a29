import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Nats, openNats } from "../../src/eventlog/nats.ts";
import { answerQuestions } from "../support/answer.ts";
import { bareSubjects, publishBare } from "../support/bare-log.ts";
import { type Load, type LoadShape, press } from "../support/load.ts";
import { createLogger } from "../support/logger.ts";

const resources = new AsyncDisposableStack();
const pieceBytes = 1024 * 1024;

/** Where files are, and the NATS beside them. */
interface Disk {
  readonly folder: string;
  readonly nats: Nats;
}
let opened: Disk | undefined;

function disk(): Disk {
  if (opened === undefined) throw new Error("open comes first");
  return opened;
}

let written = 0;
/** A file that was never there before. */
async function withNewFile(use: (file: FileHandle) => Promise<void>): Promise<string> {
  const path = join(disk().folder, String(++written));
  await using file = await open(path, "wx", 0o600);
  await use(file);
  await file.sync();
  return path;
}

/** Reads the first `bytes` of the source, hashes and encrypts them, and hands them on. */
async function pass(bytes: number, take: (sealed: Uint8Array) => Promise<unknown>): Promise<void> {
  await using source = await open(join(disk().folder, "source"));
  const hash = createHash("sha256");
  const cipher = createCipheriv("aes-256-gcm", randomBytes(32), randomBytes(12));
  const pieces: AsyncIterable<Uint8Array> = source.createReadStream({
    end: bytes - 1,
    highWaterMark: pieceBytes,
    autoClose: false,
  });
  for await (const piece of pieces) {
    hash.update(piece);
    await take(cipher.update(piece));
  }
  hash.digest();
  cipher.final();
}

/** So many bytes, again and again for so long. */
interface FileShape {
  readonly bytes: number;
  readonly ms: number;
}

/** How many bytes a second `operation`, which moves so many, comes to. */
async function bytesPerSecond({ bytes, ms }: FileShape, operation: () => Promise<unknown>): Promise<number> {
  return (await press({ concurrency: 1, ms }, operation)).perSecond * bytes;
}

const functions = {
  /** Connects, and makes the file that is copied and read: so many bytes. */
  async open({ natsUrl, folder, bytes }: { natsUrl: string; folder: string; bytes: number }): Promise<void> {
    await mkdir(folder);
    await using source = await open(join(folder, "source"), "wx", 0o600);
    for (let left = bytes; left > 0; left -= pieceBytes) await source.write(randomBytes(Math.min(pieceBytes, left)));
    await source.sync();
    opened = { folder, nats: resources.use(await openNats({ url: natsUrl, name: "bare files", log: createLogger() })) };
  },
  /** Copies the file: SHA-256 of it, AES-256-GCM, and fsync of the copy. Returns bytes a second. */
  copy: (shape: FileShape): Promise<number> =>
    bytesPerSecond(shape, async () => {
      await rm(await withNewFile((file) => pass(shape.bytes, (sealed) => file.write(sealed))));
    }),
  /** Reads the file: SHA-256 of it, and AES-256-GCM, which opens as fast as it seals. Returns bytes a second. */
  read: (shape: FileShape): Promise<number> => bytesPerSecond(shape, () => pass(shape.bytes, async () => {})),
  /** Writes a small file with fsync, then stores events of these sizes in bytes, one after the other; all that counts as one. */
  store({ blobBytes, sizes, ...shape }: LoadShape & { blobBytes: number; sizes: readonly number[] }): Promise<Load> {
    const { nats } = disk();
    const blob = randomBytes(blobBytes);
    const bodies = sizes.map((bytes) => randomBytes(bytes));
    return press(shape, async () => {
      await withNewFile(async (file) => void (await file.write(blob)));
      for (const body of bodies) await publishBare(nats, `${bareSubjects.event}.file-${++written}`, body, 0);
    });
  },
};

/** What files cost without Signalbox, in a process of its own. */
export type BareFilesProcess = typeof functions;

answerQuestions(functions, resources);
