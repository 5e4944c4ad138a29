import { exitCodes, type ExitCode } from "./cli-error.ts";
import { watchInterrupts } from "./interrupts.ts";
import { createOutput } from "./output.ts";
import { runProgram } from "./program.ts";

async function main(args: readonly string[]): Promise<ExitCode> {
  const unread = new AbortController();
  const output = createOutput({
    stdout: process.stdout,
    stderr: process.stderr,
    json: args.includes("--json"),
    onClosed: () => unread.abort(),
  });
  using interrupts = watchInterrupts(() => {
    if (process.stderr.isTTY) output.note("\nstopping; Ctrl-C again stops at once");
  });
  const signal = AbortSignal.any([interrupts.signal, unread.signal]);
  try {
    return await runProgram(args, { env: process.env, output, signal });
  } catch (error) {
    if (unread.signal.aborted) return exitCodes.ok;
    const { failureOf } = await import("./failure.ts");
    const failure = failureOf(error, process.env);
    output.fail(failure);
    return failure.exitCode;
  }
}

process.exitCode = await main(process.argv.slice(2));
