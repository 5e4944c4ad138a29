/** A reason why the embedded NATS or Postgres cannot run. `message` names the problem, `hint` the way out. */
export class StackError extends Error {
  override readonly name = "StackError";
  /** What to do about it: one or more lines for a person at a terminal. */
  readonly hint: string;

  constructor(message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

/** The operating system's code of an error, such as "ENOENT"; undefined when it has none. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** The error's message, or the thrown value as text. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
