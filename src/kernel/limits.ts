import { toBinary } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { SignalboxError } from "./errors.ts";

/** Write limits of an installation, in bytes. */
export interface Limits {
  /** Input of a run, of a step, arguments of a tool call. */
  readonly maxInputBytes: number;
  /** Output of a run, of a step, result of a tool call. */
  readonly maxOutputBytes: number;
}

/** Throws PAYLOAD_TOO_LARGE when the value's binary form is larger than the limit. Nothing is ever cut. */
export function requireSize(what: string, value: Value | undefined, limitBytes: number): void {
  const sizeBytes = value === undefined ? 0 : toBinary(ValueSchema, value).length;
  if (sizeBytes <= limitBytes) return;
  throw new SignalboxError(
    "PAYLOAD_TOO_LARGE",
    `${what} has ${sizeBytes} bytes, the limit is ${limitBytes}; store the data elsewhere and pass a reference`,
    { limit: String(limitBytes), size: String(sizeBytes) },
  );
}
