import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { SignalboxError } from "../kernel/errors.ts";

/** How long bytes are kept, in milliseconds: as asked for, by default the longest. INVALID_REQUEST beyond that. Pure. */
export function retentionOf(asked: Duration | undefined, maxMs: number): number {
  if (asked === undefined) return maxMs;
  const ms = durationMs(asked);
  if (ms <= maxMs) return ms;
  const message = `retention is ${ms / 1_000} s, this installation keeps bytes for ${maxMs / 1_000} s at most; ask for less`;
  throw new SignalboxError("INVALID_REQUEST", message, { field: "retention", limit: `${maxMs / 1_000}s` });
}
