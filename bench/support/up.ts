import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** `signalbox up` that is ready. Disposing it stops it as Ctrl-C does. */
export interface Up extends AsyncDisposable {
  readonly pid: number;
  /** From the start of the process to its ready line. */
  readonly readyMs: number;
}

const program = fileURLToPath(new URL("../../bin/signalbox.js", import.meta.url));
const settings = { NATS_URL: "", DATABASE_URL: "", SIGNALBOX_PORT: "0", SIGNALBOX_LOG_LEVEL: "warn" };
const stopTimeoutMs = 30_000;

/** Runs `signalbox up` on a data folder and a free port until it says that it is ready. */
export async function startUp(dataDir: string): Promise<Up> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [program, "up"], {
    // Empty counts as unset: the stack is embedded, whatever this shell uses otherwise.
    env: { ...process.env, ...settings, SIGNALBOX_DATA_DIR: dataDir },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const ready = Promise.withResolvers<void>();
  createInterface(child.stdout).on("line", (line) => line.startsWith("signalbox ready ") && ready.resolve());
  const failed = exited.then(() => Promise.reject(new Error("signalbox up has ended before it was ready")));
  // Later on, its end is what disposing waits for.
  failed.catch(() => {});
  await Promise.race([ready.promise, failed]);
  return {
    pid: child.pid ?? 0,
    readyMs: performance.now() - startedAt,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
      await exited;
      clearTimeout(timer);
    },
  };
}
