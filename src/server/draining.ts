import { SignalboxError } from "../kernel/errors.ts";

/** What a call that the server ends because it shuts down is told. */
export function drainingError(): SignalboxError {
  return new SignalboxError(
    "DRAINING",
    "this server is shutting down: connect again, and resume from your last position",
  );
}
