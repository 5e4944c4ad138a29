import type { ExitCode } from "./cli-error.ts";
import type { Output } from "./output.ts";

/** What every command is given. */
export interface Cli {
  /** The environment, options like `--url` taken in. */
  readonly env: NodeJS.ProcessEnv;
  readonly output: Output;
  /** Aborts when the command should stop: Ctrl-C, SIGTERM, or nobody reads its output. */
  readonly signal: AbortSignal;
}

/** Runs what a command does and keeps its exit code. Commands import what they need in here, so that help stays fast. */
export type Act = (action: (cli: Cli) => Promise<ExitCode>) => Promise<void>;
