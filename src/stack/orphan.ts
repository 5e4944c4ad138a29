import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { promisify } from "node:util";
import type { Logger } from "pino";
import { sleep } from "../kernel/wait.ts";
import { StackError, errorCode } from "./stack-error.ts";

/** How to recognise and end a program that a killed Signalbox left running. */
export interface Orphan {
  /** What to call it in the log. */
  name: string;
  /** A file whose first line is the program's pid. */
  pidFile: string;
  /** A path among the program's arguments that only a program of this data folder has. */
  argument: string;
  /** The signal that asks the program to stop. */
  stopSignal: NodeJS.Signals;
  /** Milliseconds before it is killed. */
  stopTimeoutMs: number;
}

/**
 * Stops the program named by the pid file if it is still running on our data folder, and removes the file. A pid that
 * belongs to some other program by now is left alone. The caller holds the lock of the data folder.
 * @throws StackError when the program cannot be ended.
 */
export async function stopOrphan(orphan: Orphan, log: Logger): Promise<void> {
  const pid = await readPid(orphan.pidFile);
  if (pid !== undefined && (await isRunning(pid, orphan.argument))) {
    log.warn({ program: orphan.name, orphanPid: pid }, "stopping a program that an earlier signalbox left behind");
    const gone =
      (await end(pid, orphan, orphan.stopSignal, orphan.stopTimeoutMs)) || (await end(pid, orphan, "SIGKILL", 5_000));
    if (!gone) {
      throw new StackError(
        `${orphan.name} of an earlier signalbox (process ${pid}) is still running and does not stop`,
        `End process ${pid} by hand (kill -9 ${pid}) and start again.`,
      );
    }
  }
  await rm(orphan.pidFile, { force: true });
}

async function readPid(pidFile: string): Promise<number | undefined> {
  try {
    const pid = Number.parseInt(await readFile(pidFile, "utf8"), 10);
    return pid > 1 ? pid : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function end(pid: number, orphan: Orphan, signal: NodeJS.Signals, timeoutMs: number): Promise<boolean> {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) !== "ESRCH") throw error;
  }
  const deadline = performance.now() + timeoutMs;
  while (await isRunning(pid, orphan.argument)) {
    if (performance.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

// By its arguments, not by "does the pid exist": a zombie that no init reaps exists for ever, but has none.
async function isRunning(pid: number, argument: string): Promise<boolean> {
  return ` ${await argumentsOf(pid)} `.includes(` ${argument} `);
}

async function argumentsOf(pid: number): Promise<string> {
  try {
    if (process.platform === "linux") return (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
    return (await promisify(execFile)("ps", ["-ww", "-o", "args=", "-p", `${pid}`])).stdout.trimEnd();
  } catch {
    // No such process (or, on Windows, no ps): nothing that we could recognise as ours.
    return "";
  }
}
