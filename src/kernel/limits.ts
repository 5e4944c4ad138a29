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

/**
 * The limits, lowered where the broker would not take an event of that size: a quarter of its max_payload is kept for
 * everything beside the value (names, labels, error messages, the list of what a lease left behind).
 */
export function fitLimits(limits: Limits, maxPayloadBytes: number): Limits {
  const largest = Math.floor(maxPayloadBytes * 0.75);
  return {
    maxInputBytes: Math.min(limits.maxInputBytes, largest),
    maxOutputBytes: Math.min(limits.maxOutputBytes, largest),
  };
}

/** Lists and objects inside each other at most. Decoders stop at 100 messages, and each level is two or three of them. */
const maxLevels = 32;

/**
 * Throws PAYLOAD_TOO_LARGE when the value's binary form is larger than the limit, INVALID_REQUEST when not everyone could
 * read it back: nested too deeply, or something that JSON does not have. Nothing is ever cut.
 */
export function requireStorable(what: string, value: Value | undefined, limitBytes: number): void {
  if (value === undefined) return;
  const flaw = flawOf(value, maxLevels);
  if (flaw !== undefined) throw new SignalboxError("INVALID_REQUEST", `${what} ${flaw}`);
  const hint = "store the data elsewhere and pass a reference";
  requireSize(what, toBinary(ValueSchema, value).length, limitBytes, hint);
}

/** Throws PAYLOAD_TOO_LARGE, with what to do about it, when something is larger than its limit. */
export function requireSize(what: string, sizeBytes: number, limitBytes: number, hint: string): void {
  if (sizeBytes <= limitBytes) return;
  throw new SignalboxError("PAYLOAD_TOO_LARGE", `${what} has ${sizeBytes} bytes, the limit is ${limitBytes}; ${hint}`, {
    limit: String(limitBytes),
    size: String(sizeBytes),
  });
}

function flawOf({ kind }: Value, levels: number): string | undefined {
  switch (kind.case) {
    case undefined:
      return "holds a google.protobuf.Value without a kind; say null_value where nothing is";
    case "numberValue":
      return Number.isFinite(kind.value) ? undefined : `holds ${kind.value}, but JSON has finite numbers only`;
    case "nullValue":
    case "boolValue":
    case "stringValue":
      return undefined;
    case "listValue":
      return flawIn(kind.value.values, levels);
    case "structValue":
      return flawIn(Object.values(kind.value.fields), levels);
  }
}

function flawIn(children: readonly Value[], levels: number): string | undefined {
  if (levels === 0) return `is nested deeper than ${maxLevels} levels; flatten it`;
  for (const child of children) {
    const flaw = flawOf(child, levels - 1);
    if (flaw !== undefined) return flaw;
  }
  return undefined;
}
