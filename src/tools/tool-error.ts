/** How a tool says that it failed. The message is read by models and people: it names the problem and the way out. */
export class ToolError extends Error {
  override readonly name = "ToolError";
  /** A short constant, for example `EGRESS_DENIED`; 1 to 100 characters. */
  readonly code: string;
  /** Whether the same call can succeed later, default false. */
  readonly retryable: boolean;
  /**
   * True when nobody can tell whether the tool took effect: the call must be reconciled before it is made again, default
   * false. Of no meaning for a tool that is idempotent.
   */
  readonly outcomeUnknown: boolean;

  constructor(code: string, message: string, options: ToolErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.outcomeUnknown = options.outcomeUnknown ?? false;
  }
}

/** What else is known of a failure. */
export interface ToolErrorOptions {
  readonly retryable?: boolean;
  readonly outcomeUnknown?: boolean;
  readonly cause?: unknown;
}
