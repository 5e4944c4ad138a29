import type { Writable } from "node:stream";
import { type ExitCode, exitCodes } from "./cli-error.ts";
import { createOutput } from "./output.ts";
import { runProgram } from "./program.ts";

/** What a command line runs in. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Writable & { readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  /** Aborts when the command should stop. */
  readonly signal: AbortSignal;
}

/** Runs one command line (without `node` and the script), tells what went wrong, and returns the exit code. Never throws. */
export async function runCommandLine(args: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  const { env, stdout, stderr } = surroundings;
  const unread = new AbortController();
  const output = createOutput({ stdout, stderr, json: args.includes("--json"), onClosed: () => unread.abort() });
  const signal = AbortSignal.any([surroundings.signal, unread.signal]);
  try {
    return await runProgram(args, { env, output, signal });
  } catch (error) {
    if (unread.signal.aborted) return exitCodes.ok;
    const { failureOf, isInterruption } = await import("./failure.ts");
    if (isInterruption(error, surroundings.signal)) return exitCodes.interrupted;
    const failure = failureOf(error, env);
    output.fail(failure);
    return failure.exitCode;
  }
}
