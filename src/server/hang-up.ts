import { Code, ConnectError } from "@connectrpc/connect";

const brokenWrites = new Set<unknown>(["ECANCELED", "ECONNRESET", "EPIPE"]);

/** True for what is thrown when the caller hung up while the answer was written. Nobody has to look into that. */
export function isHangUp(error: unknown): boolean {
  if (error instanceof ConnectError && error.code === Code.Aborted) return true;
  const cause = error instanceof ConnectError ? error.cause : error;
  if (!(cause instanceof Error) || !("code" in cause) || !("syscall" in cause)) return false;
  return cause.syscall === "write" && brokenWrites.has(cause.code);
}
