/** Exit codes of every command; `signalbox --help` lists them. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  timeUp: 4,
  interrupted: 130,
} as const;

/** One of the exit codes. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** A command that can not go on. `message` names the problem, `hint` the way out. */
export class CliError extends Error {
  override readonly name = "CliError";
  /** What to do about it; empty when the message says it all. */
  readonly hint: string;
  readonly exitCode: ExitCode;

  constructor(message: string, hint: string, exitCode: ExitCode, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** The command was called wrongly. */
export function usageError(message: string, hint: string): CliError {
  return new CliError(message, hint, exitCodes.usage);
}
