import { create, type DescMessage, type DescService, type Message } from "@bufbuild/protobuf";
import { createValidator, type Validator, type Violation, violationsToProto } from "@bufbuild/protovalidate";
import type { ConnectError, Interceptor } from "@connectrpc/connect";
import { SignalboxError, toConnectError } from "../kernel/errors.ts";
import { type Check, checkKey } from "../kernel/inner-call.ts";
import { badTimeIn } from "./times.ts";

// One bad item repeated a million times must not become an answer a hundred times the request's size.
const maxViolations = 20;

/**
 * Refuses requests that break a rule of the contract: INVALID_REQUEST, a message that names the fields, and
 * `buf.validate.Violations` (the first 20). A time out of its range is refused as well. The rules of every request of
 * `services` are compiled at once. A stream both ways carries calls of their own, one of which is no reason to refuse the
 * others: its handler is left the check instead (kernel/inner-call.ts).
 */
export function createValidation(services: readonly DescService[]): Interceptor {
  const validator = createValidator({ regexMatch });
  const inputs = new Set(services.flatMap((service) => service.methods.map((method) => method.input)));
  for (const input of inputs) validator.validate(input, create(input));
  const check: Check = (schema, message) => checkWith(validator, schema, message);
  return (next) => (request) => {
    const { input, methodKind } = request.method;
    if (methodKind === "bidi_streaming") {
      request.contextValues.set(checkKey, check);
      return next(request);
    }
    if (request.stream) return next({ ...request, message: checked(check, input, request.message) });
    check(input, request.message);
    return next(request);
  };
}

const patterns = new Map<string, RegExp>();

/** The contract's patterns mean the same to RE2 and to JavaScript; compiled once, a call is checked in half the time. */
function regexMatch(pattern: string, against: string): boolean {
  const compiled = patterns.get(pattern) ?? new RegExp(pattern, "u");
  patterns.set(pattern, compiled);
  return compiled.test(against);
}

async function* checked(check: Check, schema: DescMessage, messages: AsyncIterable<Message>) {
  for await (const message of messages) {
    check(schema, message);
    yield message;
  }
}

function checkWith(validator: Validator, schema: DescMessage, message: Message): void {
  const result = validator.validate(schema, message);
  // A rule that can not be evaluated is our mistake, not the caller's.
  if (result.kind === "error") throw result.error;
  if (result.kind === "invalid") throw invalidRequest(result.violations);
  const badTime = badTimeIn(schema, message);
  if (badTime !== undefined) throw toConnectError(new SignalboxError("INVALID_REQUEST", `invalid request: ${badTime}`));
}

function invalidRequest(violations: Violation[]): ConnectError {
  const shown = violations.slice(0, maxViolations);
  const more = violations.length - shown.length;
  const text = shown.map(String).join("; ") + (more > 0 ? `; and ${more} more` : "");
  const error = toConnectError(new SignalboxError("INVALID_REQUEST", `invalid request: ${text}`));
  const [value, desc] = violationsToProto(shown);
  error.details.push({ desc, value });
  return error;
}
