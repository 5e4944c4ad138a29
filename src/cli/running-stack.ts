import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";

const schema = z.object({
  /** The process of `signalbox up`. */
  pid: z.int().positive(),
  natsUrl: z.string(),
  databaseUrl: z.string(),
});

/** Where the parts of a running `signalbox up` are; the addresses hold passwords. */
export type RunningStack = z.output<typeof schema>;

/** Leaves word in the data folder, readable by this user only, until disposed: other commands then use the same stack. */
export async function announceStack(dataDir: string, stack: RunningStack): Promise<AsyncDisposable> {
  const path = fileIn(dataDir);
  await writeFile(`${path}.new`, `${JSON.stringify(stack)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** The stack that a live `signalbox up` has on the data folder; undefined when there is none. */
export async function findRunningStack(dataDir: string): Promise<RunningStack | undefined> {
  const text = await readFile(fileIn(dataDir), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { data } = schema.safeParse(JSON.parse(text));
  return data !== undefined && isAlive(data.pid) ? data : undefined;
}

function fileIn(dataDir: string): string {
  return join(resolve(dataDir), "up.json");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there, but another user's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
