import type { Value } from "@bufbuild/protobuf/wkt";
import { jsonValue, NotJsonError } from "../client/json.ts";
import { HandlerError } from "./handler-error.ts";

/** The value to send; none for undefined. Throws a HandlerError with `code`, not retryable, for what JSON does not have. */
export function optionalValue(x: unknown, what: string, code: string): Value | undefined {
  if (x === undefined) return undefined;
  try {
    return jsonValue(x, what);
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    throw new HandlerError(code, error.message, { retryable: false, cause: error });
  }
}
