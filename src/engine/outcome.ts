import type { Value } from "@bufbuild/protobuf/wkt";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import { type JsonValue, NotJsonError, valueToJson } from "../client/json.ts";
import { isTransient } from "../client/reason.ts";
import { type Command, describeCommand } from "./command.ts";
import type { Handler, HandlerContext } from "./handler.ts";
import { HandlerError, refusalOf, runErrorOf, tame } from "./handler-error.ts";
import type { Engine, Lease } from "./lease.ts";
import type { WorkerLog } from "./log.ts";
import { optionalValue } from "./values.ts";

/** How a handler ended. */
export type Outcome =
  | { readonly ok: true; readonly output: Value | undefined }
  /** `error` is whatever it threw. */
  | { readonly ok: false; readonly error: unknown };

/** Runs the handler to its end. Never rejects. */
export async function outcomeOf(handler: Handler, context: HandlerContext, run: Run): Promise<Outcome> {
  try {
    const output = await handler(context, inputOf(run));
    return { ok: true, output: optionalValue(output, "the output", "OUTPUT_NOT_SERIALIZABLE") };
  } catch (thrown) {
    return { ok: false, error: tame(thrown) };
  }
}

/**
 * The outcome of a handler that ended without asking for something that is on record: it does not do what it did before.
 * One that threw what may pass may still do it in the next attempt; what it threw for good stays as it is.
 */
export function outcomeWithout(missing: Command, outcome: Outcome): Outcome {
  const thrown = outcome.ok ? undefined : runErrorOf(outcome.error);
  if (thrown?.retryable === false) return outcome;
  const how = thrown === undefined ? "returned" : `threw ${JSON.stringify(thrown.message)}`;
  const place = `${describeCommand(missing)} at place ${missing.sequence}`;
  const message = `the record has ${place}, but the handler ${how} without asking for it`;
  const options = outcome.ok ? { retryable: false } : { retryable: true, cause: outcome.error };
  return { ok: false, error: new HandlerError("NON_DETERMINISTIC", message, options) };
}

function inputOf({ input }: Run): JsonValue | undefined {
  try {
    return valueToJson(input);
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    throw new HandlerError("INVALID_INPUT", error.message, { retryable: false, cause: error });
  }
}

/** Writes the outcome; an output that the server refuses becomes a failure for good. Throws what can not be written. */
export async function report(
  engine: Engine,
  lease: Lease,
  leaseToken: string,
  outcome: Outcome,
  onRefusal: (error: unknown) => void,
): Promise<void> {
  let failure = outcome.ok ? undefined : runErrorOf(outcome.error);
  if (outcome.ok) {
    try {
      await lease.write((call) => engine.completeRun({ leaseToken, output: outcome.output }, call));
    } catch (error) {
      if (lease.signal.aborted) throw error;
      onRefusal(error);
      failure = runErrorOf(refusalOf(error));
    }
  }
  if (failure === undefined) return;
  const error = failure;
  await lease.write((call) => engine.failRun({ leaseToken, error }, call));
}

/** Gives the run back. What does not get through is made up for by the lease, which lapses. */
export async function release(
  engine: Engine,
  leaseToken: string,
  reason: string,
  signal: AbortSignal,
  log: WorkerLog,
): Promise<void> {
  const backoff = createBackoff(50, 1_000);
  while (!signal.aborted) {
    try {
      await engine.releaseRun({ leaseToken, reason }, { signal });
      return;
    } catch (error) {
      log.warn({ err: error }, "run could not be given back");
      if (!isTransient(error)) return;
    }
    await pause(backoff.next(), signal);
  }
}
