import { spawn } from "node:child_process";
import { type FileHandle, open, rename, rm, writeFile } from "node:fs/promises";
import type { Logger } from "pino";
import { sleep } from "../kernel/wait.ts";
import type { Command } from "./setpriv.ts";
import { StackError } from "./stack-error.ts";

/** A server that runs as a child process. */
export interface Program {
  /** What to call it in errors and the log. */
  readonly name: string;
  readonly command: Command;
  /** Working folder. */
  readonly cwd: string;
  /** Where its output is appended to. Starts anew above 16 MiB; the one before is kept as `<logFile>.1`. */
  readonly logFile: string;
  /** Where its pid is written to as soon as it is started. */
  readonly pidFile: string;
  /** The signal that asks it to stop. */
  readonly stopSignal: NodeJS.Signals;
  /** Milliseconds that a stop may take before the program is killed. */
  readonly stopTimeoutMs: number;
  /** Milliseconds that a start may take, recovery of its data included. */
  readonly startTimeoutMs: number;
  /** One look: does it serve clients? False, not an error, while it does not. */
  isReady(pid: number): Promise<boolean>;
}

/** A program that has been started. */
export interface Child {
  readonly pid: number;
  /** How it ended ("was killed by SIGKILL", "exited with code 1"). Pending while it runs, never rejects. */
  readonly exited: Promise<string>;
  /** True once it has ended. */
  hasExited(): boolean;
  /** Asks it to stop, kills it after `stopTimeoutMs`, resolves when it is gone. */
  stop(): Promise<void>;
}

const readyIntervalMs = 15;
const maxLogBytes = 16 * 1024 * 1024;

/**
 * Starts the program and returns once it serves clients. Nothing runs when this throws.
 * @throws StackError with the last lines of the program's log when it dies or is not ready in time; the signal's reason
 * when that aborts.
 */
export async function startChild(program: Program, log: Logger, signal: AbortSignal): Promise<Child> {
  signal.throwIfAborted();
  const startedAt = performance.now();
  await using output = await openLog(program.logFile);
  const { size: logStart } = await output.stat();
  const child = await spawnChild(program, output);
  try {
    await writeFile(program.pidFile, `${child.pid}\n`, { mode: 0o600 });
    await untilReady(program, child, signal);
  } catch (error) {
    await child.stop();
    if (!(error instanceof StackError)) throw error;
    throw new StackError(`${error.message}${await lastLines(output, logStart)}`, error.hint, { cause: error });
  }
  const tookMs = Math.round(performance.now() - startedAt);
  log.info({ program: program.name, childPid: child.pid, tookMs }, "program started");
  return child;
}

async function spawnChild(program: Program, output: FileHandle): Promise<Child> {
  const { name, command, stopSignal, stopTimeoutMs } = program;
  const child = spawn(command.file, command.args, {
    cwd: program.cwd,
    // A group of its own: the terminal's Ctrl-C is for us, and we stop our children in order.
    detached: true,
    stdio: ["ignore", output.fd, output.fd],
    env: childEnvironment(),
  });
  let ended = false;
  const exited = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => {
      ended = true;
      resolve(signal === null ? `exited with code ${code}` : `was killed by ${signal}`);
    });
  });
  // Stays registered: a kill that fails reports here as well, and an unheard "error" would end our own process.
  const refused = new Promise<Error>((resolve) => child.on("error", resolve));
  if (child.pid === undefined) {
    const error = await refused;
    throw new StackError(`${name} could not be started: ${error.message}`, `Check ${command.file}.`, { cause: error });
  }
  const stop = async () => {
    if (ended) return;
    child.kill(stopSignal);
    const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await exited;
    clearTimeout(timer);
    await rm(program.pidFile, { force: true });
  };
  return { pid: child.pid, exited, hasExited: () => ended, stop };
}

/** What a child gets to see of our environment: no secrets of ours, no settings of theirs. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const { PATH, SystemRoot, TEMP } = process.env;
  return { PATH, SystemRoot, TEMP, LC_ALL: "C", TZ: "UTC" };
}

async function untilReady(program: Program, child: Child, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + program.startTimeoutMs;
  while (!(await program.isReady(child.pid)) || child.hasExited()) {
    signal.throwIfAborted();
    if (child.hasExited()) throw failedStart(program, await child.exited);
    if (performance.now() > deadline) throw failedStart(program, `was not ready after ${program.startTimeoutMs} ms`);
    await sleep(readyIntervalMs, signal);
  }
}

function failedStart(program: Program, how: string): StackError {
  return new StackError(`${program.name} did not start: it ${how}`, `Its log is ${program.logFile}.`);
}

async function openLog(path: string): Promise<FileHandle> {
  const log = await open(path, "a+", 0o600);
  if ((await log.stat()).size <= maxLogBytes) return log;
  await log.close();
  await rename(path, `${path}.1`);
  return open(path, "a+", 0o600);
}

async function lastLines(log: FileHandle, start: number): Promise<string> {
  const { size } = await log.stat();
  const from = Math.max(start, size - 4096);
  const { buffer, bytesRead } = await log.read({ buffer: Buffer.alloc(size - from), position: from });
  const lines = buffer.toString("utf8", 0, bytesRead).trim().split("\n").slice(-8);
  return lines[0] === "" ? "" : `\n${lines.map((line) => `  | ${line}`).join("\n")}`;
}
