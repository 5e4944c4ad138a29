import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { pause } from "../client/backoff.ts";
import { valueToJson } from "../client/json.ts";
import type { Activity } from "./activity.ts";
import type { Command } from "./command.ts";
import type { Commands } from "./commands.ts";
import type { Emitter } from "./emit.ts";
import type { End, Entry } from "./entry.ts";
import type { HandlerContext, StepOptions, StepRetry, StepScope } from "./handler.ts";
import { failureOf, HandlerError, runErrorOf, tame } from "./handler-error.ts";
import type { Journal } from "./journal.ts";
import type { Ending, Ledger, StepInit } from "./ledger.ts";
import type { StepOutputs } from "./step-outputs.ts";
import { createUsageMeter } from "./usage.ts";
import { optionalValue } from "./values.ts";

/** Code to run as a step. */
export interface StepWork<T> {
  readonly init: StepInit;
  readonly retry: StepRetry | undefined;
  readonly fn: (scope: StepScope) => T | Promise<T>;
}

/** Runs code once per run. */
export interface Steps {
  step: HandlerContext["step"];
  /** What the code returns, once that is on record; throws a HandlerError once the last failure is. */
  perform<T>(command: Command, work: StepWork<T>): Promise<T>;
}

/** What steps need. */
export interface StepsOptions {
  readonly run: Run;
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly emitter: Emitter;
  readonly outputs: StepOutputs;
  readonly signal: AbortSignal;
}

/** How one try went. */
type Try<T> = { readonly ok: true; readonly result: T; readonly ending: Ending } | Failed;

interface Failed {
  readonly ok: false;
  readonly cause: unknown;
  readonly ending: Ending & { readonly ok: false };
}

/** Steps of one attempt. */
export function createSteps(options: StepsOptions): Steps {
  const { run, commands, ledger, journal, activity, emitter, outputs, signal } = options;

  function mayPass({ ending: { error } }: Failed): boolean {
    return error.retryable && !(run.retryPolicy?.nonRetryableCodes.includes(error.code) ?? false);
  }

  async function perform<T>(command: Command, { init, retry, fn }: StepWork<T>): Promise<T> {
    const { key } = command;
    const pauses = pausesOf(retry);
    const emit: StepScope["emit"] = (delta) => emitter.emit(delta, key);
    let entry = await journal.start(() => ledger.startStep(command, init));
    if (entry.end?.outcome.ok) return resultOf(entry.end);
    for (let attempt = 1; ; attempt++) {
      const usage = createUsageMeter();
      const { id: stepId } = entry;
      const scope: StepScope = { stepId, key, attempt, signal, addUsage: usage.add, emit };
      const tried = await activity.during(() => attemptOf(`the output of step ${key}`, () => fn(scope)));
      const started = entry;
      const pauseMs = pauses[attempt - 1];
      if (tried.ok || pauseMs === undefined || !mayPass(tried)) {
        void emitter.flush();
        const ending = await activity.during(() => outputs.keep(started, tried.ending));
        return settle(await journal.end(() => ledger.end(started, ending, usage)), tried);
      }
      // Started again in the same breath: a failure that stands on record is one that the handler was told of.
      entry = await journal.start(
        () => ledger.startStep(command, init),
        () => ledger.end(started, tried.ending, usage),
      );
      await activity.during(() => pause(pauseMs, signal));
      signal.throwIfAborted();
    }
  }

  return {
    perform,
    step: <T>(
      name: string,
      fn: (scope: StepScope) => T | Promise<T>,
      { name: title = "", input, retry }: StepOptions = {},
    ) =>
      commands.perform<T>({
        kind: "step",
        name,
        live: async (command) => {
          const value = optionalValue(input, `the input of step ${command.key}`, "INPUT_NOT_SERIALIZABLE");
          return perform(command, { init: { name: title, input: value }, retry, fn });
        },
        replayed: resultOf,
      }),
  };
}

/** The recorded output, as the code that made it typed it; throws the recorded failure. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the record is JSON, its type is the caller's word
export function resultOf<T>({ outcome }: End): T {
  if (outcome.ok) return valueToJson(outcome.output) as T;
  throw failureOf(outcome.error);
}

/** Calls `fn` and says how that is recorded. `what` names the output in errors. */
export async function attemptOf<T>(what: string, fn: () => T | Promise<T>): Promise<Try<T>> {
  try {
    const result = await fn();
    return { ok: true, result, ending: { ok: true, output: optionalValue(result, what, "OUTPUT_NOT_SERIALIZABLE") } };
  } catch (thrown) {
    const cause = tame(thrown);
    return { ok: false, cause, ending: { ok: false, error: runErrorOf(cause) } };
  }
}

/** What the handler gets of a try that is on record. */
export function settle<T>({ end }: Entry, tried: Try<T>): T {
  if (!tried.ok) throw failureOf(tried.ending.error, tried.cause);
  // The output was too much for the record, and its step failed for that.
  if (end !== undefined && !end.outcome.ok) throw failureOf(end.outcome.error);
  return tried.result;
}

/** The pauses before the second try and those that follow, in milliseconds. Throws a HandlerError for a policy without sense. */
function pausesOf(retry: StepRetry | undefined): number[] {
  if (retry === undefined) return [];
  const { maxAttempts = 3, initialBackoffMs = 100, multiplier = 2, maxBackoffMs = 10_000 } = retry;
  const bad =
    !Number.isInteger(maxAttempts) || maxAttempts < 1 || maxAttempts > 1_000
      ? `retry.maxAttempts is a whole number from 1 to 1000; got ${maxAttempts}`
      : [initialBackoffMs, multiplier, maxBackoffMs].some((number) => !Number.isFinite(number) || number < 0)
        ? "retry.initialBackoffMs, multiplier and maxBackoffMs are numbers of 0 and more"
        : undefined;
  if (bad !== undefined) throw new HandlerError("INVALID_RETRY", bad, { retryable: false });
  return Array.from({ length: maxAttempts - 1 }, (_, index) =>
    Math.min(initialBackoffMs * multiplier ** index, maxBackoffMs),
  );
}
