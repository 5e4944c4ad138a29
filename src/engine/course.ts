import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Activity, createActivity } from "./activity.ts";
import type { End } from "./entry.ts";
import { HandlerError, type RunStoppedError } from "./handler-error.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import { createJournal, type Journal } from "./journal.ts";
import type { Claim, Lease } from "./lease.ts";
import type { Ledger } from "./ledger.ts";
import { readRecord } from "./record.ts";
import { createReplay, type Replay } from "./replay.ts";
import { createWaits, type Waits } from "./waits.ts";

/** How an attempt goes on without its handler: the run was given back, or it fails whatever the handler does. */
export type Departure =
  | { readonly why: "suspended" | "paused" }
  | { readonly why: "failed"; readonly error: HandlerError };

/** An attempt between the record and the handler. */
export interface Course {
  readonly activity: Activity;
  readonly replay: Replay;
  readonly journal: Journal;
  readonly waits: Waits;
  readonly inbox: Inbox;
  /** The time of the last end that the handler was told of. */
  now(): Date;
  /** Resolves when the handler is left behind. */
  readonly departed: Promise<Departure>;
  /** Nothing more is started, answered or waited for; what is under way may end, and that is written. */
  stop(reason: RunStoppedError): void;
  /** The handler has ended. Resolves when what was being written is, with how it was left behind before that. */
  close(): Promise<Departure | undefined>;
}

/** What a course needs. */
export interface CourseOptions {
  readonly claim: Claim;
  readonly lease: Lease;
  readonly ledger: Ledger;
  /** Shows what is not shown yet: called before the run is given back. */
  readonly lastWords: () => Promise<void>;
  /** How long the handler may stand still in the middle of a replay, in milliseconds, default 10,000. */
  readonly patienceMs?: number | undefined;
}

/** Starts at the beginning of the record. A run whose handler only waits is given back. */
export function openCourse({ claim, lease, ledger, lastWords, patienceMs }: CourseOptions): Course {
  const { run } = claim;
  const departing = Promise.withResolvers<Departure>();
  const started = run.startTime ?? run.createTime;
  let now = started === undefined ? new Date(0) : timestampDate(started);
  let departure: Departure | undefined;

  function depart(how: Departure): void {
    if (departure !== undefined || lease.signal.aborted) return;
    departure = how;
    departing.resolve(how);
    if (how.why !== "failed") lease.stop(how.why);
  }

  function onEnd({ time }: End): void {
    if (time !== undefined && time > now) now = time;
  }

  function onDivergence(error: HandlerError): void {
    depart({ why: "failed", error });
  }

  /** Nothing is under way: what the handler waits for needs no worker. */
  function onQuiet(): void {
    if (departure !== undefined || lease.signal.aborted) return;
    if (waits.count() === 0 && journal.held() === 0) return;
    if (!replay.isDone()) return replay.press();
    const giveBack = journal.pausing() === undefined ? suspend : release;
    giveBack().catch((error: unknown) => {
      if (error instanceof HandlerError) depart({ why: "failed", error });
    });
  }

  async function release(): Promise<void> {
    await journal.write(async () => {
      await lastWords();
      await ledger.release((journal.pausing() ?? "").slice(0, 1_000));
    });
    depart({ why: "paused" });
  }

  async function suspend(): Promise<void> {
    const conditions = waits.conditions();
    const answer = await journal.write(async () => {
      await lastWords();
      return ledger.suspend(conditions.map(({ condition }) => condition));
    });
    if (answer.suspended) return depart({ why: "suspended" });
    if (answer.holding.length === 0)
      throw new HandlerError("BAD_ANSWER", "the server neither suspends the run nor says why not");
    for (const index of answer.holding) conditions[index]?.wake();
  }

  function stop(reason: RunStoppedError): void {
    replay.stop(reason);
    waits.stop(reason);
    journal.stop(reason);
  }

  const activity = createActivity(onQuiet);
  const inbox = createInbox(claim);
  const waits = createWaits(inbox.taken);
  const replay = createReplay({ record: readRecord(claim), activity, onEnd, onDivergence, patienceMs });
  const journal = createJournal({ replay, activity, onEnd });
  lease.onPause(() => journal.pause("somebody asked the run to pause"));
  lease.signal.addEventListener("abort", () => stop(lease.signal.reason as RunStoppedError));
  return {
    activity,
    replay,
    journal,
    waits,
    inbox,
    now: () => now,
    departed: departing.promise,
    stop,
    async close() {
      await journal.close();
      return departure;
    },
  };
}
