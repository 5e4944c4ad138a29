import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { errorDomain, type Reason } from "../kernel/errors.ts";

/**
 * Gives an error that Connect itself raised (a body that is too large, not JSON, not this message; a method without
 * implementation) the ErrorInfo that every error of ours carries. Others stay as they are. Changes `error` in place:
 * Connect raises such errors outside the interceptors, and its handlers send the very object.
 */
export function explainProtocolError(error: ConnectError): void {
  if (error.details.length > 0) return;
  // Connect answers a message that does not parse with INTERNAL when it is binary, and with INVALID_ARGUMENT when it is
  // JSON. Both are the caller's mistake. `code` is read-only for TypeScript only.
  if (error.code === Code.Internal && error.rawMessage.startsWith("parse binary: ")) {
    Object.assign(error, { code: Code.InvalidArgument });
  }
  const reason = reasonOf(error);
  if (reason === undefined) return;
  const metadata = sizesOf(error);
  error.details.push({
    desc: ErrorInfoSchema,
    value: create(ErrorInfoSchema, { reason, domain: errorDomain, metadata }),
  });
}

function reasonOf(error: ConnectError): Reason | undefined {
  if (error.code === Code.InvalidArgument) return "INVALID_REQUEST";
  if (error.code === Code.Unimplemented) return "NOT_IMPLEMENTED";
  if (error.code === Code.ResourceExhausted && error.rawMessage.includes("readMaxBytes")) return "PAYLOAD_TOO_LARGE";
  return undefined;
}

function sizesOf(error: ConnectError): Record<string, string> {
  const match = /(?:message size (\d+) )?.*readMaxBytes (\d+)/.exec(error.rawMessage);
  if (match === null) return {};
  const [, size, limit = ""] = match;
  return size === undefined ? { limit } : { limit, size };
}
