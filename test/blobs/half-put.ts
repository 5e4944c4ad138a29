import { pino } from "pino";
import { openFilesystemBlobs } from "../../src/blobs/filesystem.ts";

/** `half-put.ts <dir> <name>`: stores 3 MiB of a blob, says so, and waits to be killed. */
const [dir = "", name = ""] = process.argv.slice(2);

async function* half(): AsyncGenerator<Uint8Array> {
  for (let piece = 0; piece < 3; piece++) yield Buffer.alloc(1024 * 1024, piece);
  process.stdout.write("half\n");
  // Keeps the process alive.
  await new Promise((resolve) => setTimeout(resolve, 600_000));
}

const store = await openFilesystemBlobs({ dir, log: pino({ level: "silent" }) });
await store.put(name, half());
