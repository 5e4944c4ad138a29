import type { Value } from "@bufbuild/protobuf/wkt";
import type { Run, RunError } from "../../gen/signalbox/v1/run_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import { type JsonValue, NotJsonError, valueToJson } from "../client/json.ts";
import { isTransient } from "../client/reason.ts";
import { createContext } from "./context.ts";
import type { Handler } from "./handler.ts";
import { HandlerError, refusalOf, runErrorOf } from "./handler-error.ts";
import { type Claim, type Engine, type Lease, openLease } from "./lease.ts";
import { type WorkerLog, withFields } from "./log.ts";
import { optionalValue } from "./records.ts";

/** A claimed run at work. */
export interface Attempt {
  readonly run: Run;
  /** Resolves when the handler has ended and its outcome is on record, or can not get there. Never rejects. */
  readonly done: Promise<void>;
  /** Aborts the handler and gives the run back to be claimed again. Resolves when that is on record, or `signal` aborts. */
  giveBack(reason: string, signal: AbortSignal): Promise<void>;
}

/** What an attempt needs beside the claim. */
export interface AttemptOptions {
  readonly engine: Engine;
  readonly handler: Handler;
  readonly log: WorkerLog;
  /** Told what the handler threw, and what the server did not take. */
  readonly onError: (error: unknown, run: Run) => void;
}

/** How long a handler may go on after its signal has aborted before that is worth a line in the log. */
const ignoredMs = 10_000;

/** How a handler ended. */
type Outcome =
  | { readonly ok: true; readonly output: Value | undefined }
  | { readonly ok: false; readonly error: RunError };

/** Starts working on a claimed run. */
export function startAttempt(options: AttemptOptions, claim: Claim): Attempt {
  const { engine, onError } = options;
  const { run, leaseToken } = claim;
  const log = withFields(options.log, { run_id: run.runId, attempt: run.attempt });
  const lease = openLease(engine, claim, log);
  let reporting = false;

  async function work(): Promise<void> {
    try {
      const outcome = await outcomeOf(options, claim, lease, log);
      reporting = true;
      lease.finish();
      await report(engine, lease, leaseToken, outcome, (error) => onError(error, run));
    } catch (error) {
      if (lease.signal.aborted) return log.info({ why: lease.why() }, "outcome came after the lease");
      log.error({ err: error }, "outcome refused; the run will be tried again when the lease lapses");
      onError(error, run);
    } finally {
      lease.stop("finished");
    }
  }

  const done = work();
  // The other slots go on; this one is taken until the handler ends.
  lease.signal.addEventListener("abort", () => {
    if (lease.why() === "finished") return;
    const timer = setTimeout(() => log.warn({ why: lease.why() }, "handler ignores its signal"), ignoredMs);
    timer.unref();
    void done.then(() => clearTimeout(timer));
  });
  return {
    run,
    done,
    async giveBack(reason, signal) {
      if (reporting) {
        await Promise.race([done, aborted(signal)]);
      } else {
        lease.stop("draining");
        await release(engine, leaseToken, reason, signal, log);
      }
    },
  };
}

async function outcomeOf(
  { engine, handler, onError }: AttemptOptions,
  claim: Claim,
  lease: Lease,
  log: WorkerLog,
): Promise<Outcome> {
  try {
    const context = createContext(engine, claim, lease, log);
    const output = await handler(context, inputOf(claim.run));
    return { ok: true, output: optionalValue(output, "the output", "OUTPUT_NOT_SERIALIZABLE") };
  } catch (error) {
    // What a handler throws because it was told to stop is no failure of its own.
    if (!lease.signal.aborted) onError(error, claim.run);
    return { ok: false, error: runErrorOf(error) };
  }
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
async function report(
  engine: Engine,
  lease: Lease,
  leaseToken: string,
  outcome: Outcome,
  onRefusal: (error: unknown) => void,
): Promise<void> {
  let failure = outcome.ok ? undefined : outcome.error;
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
async function release(
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
