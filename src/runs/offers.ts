import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Aggregates, Loaded } from "../eventlog/aggregates.ts";
import { isRunPayload, type RunPayload } from "../eventlog/event-type.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Admission, Candidate } from "./admission.ts";
import { candidateOf, newCandidate } from "./candidate.ts";
import { countLimited, findDisagreements } from "./count-limited.ts";
import { makeJob } from "./make-job.ts";
import type { RunState } from "./state.ts";

/** Makes the jobs of runs that are queued, each as soon as the limits let it. */
export interface Offers extends Disposable {
  /** Learns who is under way from the tables, which must have every event that `round` is not given. */
  start(): Promise<void>;
  /** Reacts to new events, in the order of the log, and then to what was asked for meanwhile. One call at a time. */
  round(records: readonly EventRecord[]): Promise<void>;
  /** Looks in the next round whether a run that has no job should have one, and makes it. */
  look(workspaceId: string, runId: string): void;
  /** Looks at the runs of which memory and tables do not say the same; the tables are at `position` or behind it. */
  compare(position: bigint): Promise<void>;
  /** How many queued runs have no job because a limit does not let them. */
  waiting(): number;
}

/** What offers need. */
export interface OffersDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly aggregates: Aggregates<RunState>;
  readonly jobs: Jobs;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Asks for a round. */
  readonly wake: () => void;
}

/** What an event means for the job of its run. */
type Meaning = "is queued" | "may be queued" | "is claimed" | "is paused" | "needs none" | "nothing";

/** Of every event of a run: one that is forgotten here would wake its run only when the tables are compared. */
const meanings: Record<RunPayload["case"], Meaning> = {
  runCreated: "is queued",
  runWoken: "may be queued",
  runChildEnded: "may be queued",
  runMessageReceived: "may be queued",
  runApprovalDecided: "may be queued",
  runResumed: "may be queued",
  runClaimed: "is claimed",
  runPaused: "is paused",
  runSuspended: "needs none",
  runSucceeded: "needs none",
  runFailed: "needs none",
  runCanceled: "needs none",
  runReleased: "nothing",
  runAttemptFailed: "nothing",
  runLeaseExpired: "nothing",
  runPauseRequested: "nothing",
  runArtifactAdded: "nothing",
  stepStarted: "nothing",
  stepCompleted: "nothing",
  stepFailed: "nothing",
  stepReused: "nothing",
  toolCallStarted: "nothing",
  toolCallSucceeded: "nothing",
  toolCallFailed: "nothing",
  toolCallReconciled: "nothing",
  toolCallReused: "nothing",
  toolCallGated: "nothing",
  toolCallDenied: "nothing",
};

function meaningOf({ payload }: Event): Meaning {
  return isRunPayload(payload) ? meanings[payload.case] : "nothing";
}

/** No job yet. */
export function createOffers(deps: OffersDeps): Offers {
  const { aggregates, jobs, admission, clock, ids, log, signal, wake } = deps;
  const looks = new Map<string, { readonly workspaceId: string; readonly runId: string }>();
  let admitTimer: NodeJS.Timeout | undefined;
  /** To be offered when the limits have been asked. */
  let ready: Candidate[] = [];

  /** Makes the jobs of those who are ready, and of those whom the limits let through now. */
  async function flush(): Promise<void> {
    const nowMs = clock.now().getTime();
    const { admitted, nextMs } = admission.admit(nowMs);
    const offers = [...ready, ...admitted];
    ready = [];
    clearTimeout(admitTimer);
    if (nextMs !== undefined) admitTimer = setTimeout(wake, Math.max(nextMs - nowMs, 1));
    const made = await Promise.allSettled(offers.map((run) => makeJob(jobs, run, ids.next("job"))));
    for (const result of made) {
      if (result.status === "rejected") log.warn({ err: result.reason }, "job not made, the reconciler will");
    }
  }

  function offer(run: Candidate): void {
    if (!admission.limits(run) || admission.enter(run, run.position)) ready.push(run);
  }

  /** Does for a run what its state asks for. With `requeuePosition`, only if it is queued since that event. */
  function consider({ state, position }: Loaded<RunState>, requeuePosition?: bigint): void {
    if (state.status === "absent") return;
    const { workspaceId, runId } = state.run;
    if (state.status === "queued") {
      if (requeuePosition === undefined || requeuePosition === state.requeuePosition) offer(candidateOf(state));
      return;
    }
    if (state.status !== "running") return admission.leave(workspaceId, runId, position);
    const candidate = candidateOf(state);
    if (admission.limits(candidate)) admission.occupy(candidate, position);
  }

  /** The run after an event or a later one. */
  async function stateAfter({ event, position }: EventRecord): Promise<Loaded<RunState>> {
    const runId = event.stream?.id ?? "";
    const paused = event.payload.case === "runPaused" ? admission.find(event.workspaceId, runId) : undefined;
    // A worker could take its job after it was resumed and before it has a place again.
    if (paused !== undefined) await jobs.withdraw(paused);
    const cached = aggregates.cached(event.workspaceId, runId);
    if (paused === undefined && cached !== undefined && cached.position >= position) return cached;
    return aggregates.load(event.workspaceId, runId);
  }

  /** True when the event alone does not say what its run needs. */
  function needsState({ event }: EventRecord): boolean {
    const { payload, workspaceId, stream } = event;
    if (meaningOf(event) === "may be queued") return true;
    return (
      payload.case === "runPaused" &&
      payload.value.lease === undefined &&
      admission.find(workspaceId, stream?.id ?? "") !== undefined
    );
  }

  async function statesAfter(records: readonly EventRecord[]): Promise<Map<EventRecord, Loaded<RunState>>> {
    const found = new Map<EventRecord, Loaded<RunState>>();
    const asked = records.filter(needsState).map(async (record) => found.set(record, await stateAfter(record)));
    for (const result of await Promise.allSettled(asked)) {
      if (result.status === "rejected") log.warn({ err: result.reason }, "run not looked at, the reconciler will");
    }
    return found;
  }

  function react({ event, position }: EventRecord, loaded: Loaded<RunState> | undefined): void {
    const { payload, workspaceId } = event;
    const runId = event.stream?.id ?? "";
    const meaning = meaningOf(event);
    if (payload.case === "runCreated") offer(newCandidate(event, payload.value));
    else if (meaning === "may be queued") {
      if (loaded) consider(loaded, position);
    } else if (meaning === "is claimed") admission.claimed(workspaceId, runId, position, msOf(event.createTime));
    else if (meaning === "is paused" && loaded?.state.status === "running") consider(loaded);
    else if (meaning !== "nothing") admission.leave(workspaceId, runId, position);
  }

  async function count(workspaceId: string): Promise<void> {
    ready.push(...(await countLimited(deps, workspaceId)));
  }

  async function takeLooks(): Promise<void> {
    const taken = [...looks.values()];
    looks.clear();
    const found = await Promise.allSettled(taken.map(({ workspaceId, runId }) => aggregates.load(workspaceId, runId)));
    for (const result of found) {
      if (result.status === "fulfilled") consider(result.value);
      else log.warn({ err: result.reason }, "run not looked at, the reconciler will");
    }
  }

  function lookAt(workspaceId: string, runId: string): void {
    looks.set(`${workspaceId}/${runId}`, { workspaceId, runId });
    wake();
  }

  return {
    look(workspaceId, runId) {
      if (!admission.standsInLine(workspaceId, runId)) lookAt(workspaceId, runId);
    },
    async start() {
      for (const workspaceId of admission.workspaces()) await count(workspaceId);
      await flush();
    },
    async round(records) {
      const states = await statesAfter(records);
      for (const record of records) {
        if (admission.observe(record.event)) {
          // What was let through before counts as offered.
          await flush();
          await deps.positions.reach(record.position, signal);
          await count(record.event.workspaceId);
        } else react(record, states.get(record));
      }
      if (looks.size > 0) await takeLooks();
      await flush();
    },
    async compare(position) {
      for (const { workspaceId, runId } of await findDisagreements(deps, position)) lookAt(workspaceId, runId);
    },
    waiting: () => admission.waiting(),
    [Symbol.dispose]: () => clearTimeout(admitTimer),
  };
}

function msOf(time: Event["createTime"]): number {
  return time ? timestampMs(time) : 0;
}
