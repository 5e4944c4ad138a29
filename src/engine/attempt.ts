import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { createCommands } from "./commands.ts";
import { createContext, type Equipment } from "./context.ts";
import { openCourse } from "./course.ts";
import { createEmitter } from "./emit.ts";
import type { Handler } from "./handler.ts";
import { RunStoppedError, type StopCause } from "./handler-error.ts";
import type { Heartbeats } from "./heartbeats.ts";
import { openKeeping } from "./keeping.ts";
import { type Claim, type Lease, openLease } from "./lease.ts";
import { type WorkerLog, withFields } from "./log.ts";
import { type Outcome, outcomeOf, outcomeWithout, release, report } from "./outcome.ts";

/** A claimed run at work. */
export interface Attempt {
  readonly run: Run;
  /** Resolves when the run is out of this worker's hands, or its outcome can not be recorded. Never rejects. */
  readonly done: Promise<void>;
  /** Aborts the handler and gives the run back to be claimed again. Resolves when that is on record, or `signal` aborts. */
  giveBack(reason: string, signal: AbortSignal): Promise<void>;
}

/** What an attempt needs beside the claim. */
export interface AttemptOptions {
  readonly equipment: Equipment;
  readonly heartbeats: Heartbeats;
  readonly handler: Handler;
  readonly log: WorkerLog;
  /** Told what the handler threw, and what the server did not take. */
  readonly onError: (error: unknown, run: Run) => void;
  /** How long the handler may stand still in the middle of a replay, in milliseconds, default 10,000. */
  readonly replayPatienceMs?: number | undefined;
}

/** Starts working on a claimed run. */
export function startAttempt(options: AttemptOptions, claim: Claim): Attempt {
  const { equipment, onError } = options;
  const { engine, telemetry } = equipment;
  const { run, leaseToken } = claim;
  const log = withFields(options.log, { run_id: run.runId, attempt: run.attempt });
  const lease = openLease(options.heartbeats, claim, log);
  let reporting = false;

  async function work(): Promise<void> {
    try {
      const outcome = await telemetry.invokeAgent(run, () => outcomeOfAttempt(options, claim, lease, log));
      if (outcome === "given back") return;
      // What a handler throws because it was told to stop is no failure of its own.
      if (!outcome.ok && !lease.signal.aborted) onError(outcome.error, run);
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
  warnOfDeafHandler(lease, done, log);
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

/** How the handler ends, unless the run is given back before that: to wait, or to stand still. */
async function outcomeOfAttempt(
  { equipment, handler, onError, replayPatienceMs: patienceMs }: AttemptOptions,
  claim: Claim,
  lease: Lease,
  log: WorkerLog,
): Promise<Outcome | "given back"> {
  const { run, leaseToken } = claim;
  const { engine } = equipment;
  const keeping = openKeeping(equipment, claim, lease);
  const { ledger } = keeping;
  const emitter = createEmitter({ engine, leaseToken, signal: lease.signal, log });
  const course = openCourse({ claim, lease, ledger, lastWords: emitter.lastWords, patienceMs });
  const commands = createCommands({
    replay: course.replay,
    signal: lease.signal,
    fetch: ledger.fetch,
    onLate(kind, name) {
      log.warn({ kind, name }, "the handler asked for something after it had ended; that is not done");
      onError(new RunStoppedError("finished"), run);
    },
  });
  const { context, settle } = createContext({ equipment, claim, lease, ...keeping, course, commands, emitter, log });
  const handled = outcomeOf(handler, context, run).finally(() => {
    commands.close();
    // From here on, what the handler has left behind keeps nobody waiting.
    course.stop(new RunStoppedError("finished"));
  });
  await Promise.race([handled.then(settle), course.departed]);
  const departure = await course.close();
  if (departure !== undefined) {
    return departure.why === "failed" ? { ok: false, error: departure.error } : "given back";
  }
  const missing = course.replay.missing();
  const outcome = await handled;
  return missing === undefined || lease.signal.aborted ? outcome : outcomeWithout(missing, outcome);
}

/** How long a handler may go on after its signal has aborted before that is worth a line in the log. */
const ignoredMs = 10_000;

const endsByItself: ReadonlySet<StopCause | undefined> = new Set(["finished", "suspended", "paused"]);

/** The other slots go on; the one of a handler that does not listen is taken until it ends. */
function warnOfDeafHandler(lease: Lease, done: Promise<void>, log: WorkerLog): void {
  lease.signal.addEventListener("abort", () => {
    if (endsByItself.has(lease.why())) return;
    const timer = setTimeout(() => log.warn({ why: lease.why() }, "handler ignores its signal"), ignoredMs);
    timer.unref();
    void done.then(() => clearTimeout(timer));
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
