import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { RunStatus, RunStatusSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { EventRecord } from "../eventlog/record.ts";
import { enumName } from "../kernel/enum-name.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Background } from "../kernel/background.ts";
import { cancelRun, isOpen } from "./decider.ts";
import type { SystemCommand } from "./system-command.ts";
import { endChild } from "./wait-decider.ts";
import { awaitedIn } from "./waiting.ts";
import { type Child, openChildren, orphans, untoldEnds } from "./waiting-queries.ts";

/** Tells parents of the ends of their children, and ends the children of those that have ended. */
export interface Children {
  /** Learns of the open children from the tables, which must have every event that `take` is not given. */
  start(): Promise<void>;
  /** Reacts to a new event. */
  take(record: EventRecord): void;
  /** Looks up, when there is reason to, whom nobody has told. The tables are at `position` or behind it. */
  sweep(position: bigint): Promise<void>;
}

/** What children need. */
export interface ChildrenDeps {
  readonly db: Db;
  readonly command: SystemCommand;
  readonly background: Background;
}

const pageSize = 5_000;
/**
 * The runs that ended last, at least so many, are remembered: a child that is created in the moment in which its parent ends
 * is found by them.
 */
const rememberedEnds = 5_000;
/** Look-ups without any reason come every so many sweeps: often enough that nothing stays open for three lease times. */
const lookEvery = 12;

/** How a run has ended; undefined when the event ends none. */
function endOf({ payload }: Event): RunStatus | undefined {
  if (payload.case === "runSucceeded") return RunStatus.SUCCEEDED;
  if (payload.case === "runFailed") return RunStatus.FAILED;
  return payload.case === "runCanceled" ? RunStatus.CANCELED : undefined;
}

/** Nobody is known yet. */
export function createChildren({ db, command, background }: ChildrenDeps): Children {
  // By workspace and run, of open children only.
  const parents = new Map<string, string>();
  const children = new Map<string, Set<string>>();
  // Two pieces, of which the older is dropped whole: a Map that loses its first entry again and again gets slow.
  let ended = new Map<string, RunStatus>();
  let endedBefore = ended;
  /** Somebody may have been missed; the tables show it from this position on. Who began just now does not know what was before. */
  let doubtPosition: bigint | undefined = 0n;
  let sweeps = 0;
  const doubt = (position = 0n) => {
    if (doubtPosition === undefined || doubtPosition < position) doubtPosition = position;
  };

  function add({ workspaceId, runId, parentRunId }: Child): void {
    parents.set(`${workspaceId}/${runId}`, parentRunId);
    const key = `${workspaceId}/${parentRunId}`;
    const siblings = children.get(key) ?? new Set();
    children.set(key, siblings.add(runId));
  }

  function remove(workspaceId: string, runId: string): string | undefined {
    const parentRunId = parents.get(`${workspaceId}/${runId}`);
    if (parentRunId === undefined) return undefined;
    parents.delete(`${workspaceId}/${runId}`);
    const key = `${workspaceId}/${parentRunId}`;
    const siblings = children.get(key);
    siblings?.delete(runId);
    if (siblings?.size === 0) children.delete(key);
    return parentRunId;
  }

  function remember(key: string, status: RunStatus): void {
    ended.set(key, status);
    if (ended.size < rememberedEnds) return;
    endedBefore = ended;
    ended = new Map();
  }

  function tell({ workspaceId, runId, parentRunId }: Child, status: RunStatus, cause?: Event): void {
    background.start(
      () => command(workspaceId, parentRunId, (state) => endChild(state, runId, status), cause),
      () => doubt(),
    );
  }

  function cancel(
    { workspaceId, runId, parentRunId }: Child,
    parentStatus: RunStatus | undefined,
    cause?: Event,
  ): void {
    const how = parentStatus === undefined ? "ended" : enumName(RunStatusSchema, parentStatus).toLowerCase();
    const reason = `its parent ${parentRunId} has ${how}`;
    background.start(
      () =>
        command(workspaceId, runId, (state) => (isOpen(state) ? cancelRun(state, runId, reason) : undefined), cause),
      () => doubt(),
    );
  }

  function onEnd(event: Event, runId: string, status: RunStatus): void {
    const { workspaceId } = event;
    const key = `${workspaceId}/${runId}`;
    remember(key, status);
    const parentRunId = remove(workspaceId, runId);
    if (parentRunId !== undefined) tell({ workspaceId, runId, parentRunId }, status, event);
    for (const child of children.get(key) ?? []) {
      cancel({ workspaceId, runId: child, parentRunId: runId }, status, event);
    }
  }

  return {
    async start() {
      for (let after: bigint | undefined = 0n; after !== undefined;) {
        const page: Awaited<ReturnType<typeof openChildren>> = await openChildren(db, after, pageSize);
        for (const child of page.children) add(child);
        ({ after } = page);
      }
    },
    take({ event, position }) {
      const runId = event.stream?.id ?? "";
      if (event.payload.case === "runSuspended") {
        // A child that is not open has ended. Its parent is being told just now, or was not because nobody listened then.
        const isOpenChild = (id: string) => parents.has(`${event.workspaceId}/${id}`);
        if (!awaitedIn(event.payload.value.conditions).every(isOpenChild)) doubt(position);
        return;
      }
      if (event.payload.case === "runCreated") {
        const { parentRunId } = event.payload.value;
        if (parentRunId === "") return;
        const child = { workspaceId: event.workspaceId, runId, parentRunId };
        add(child);
        const key = `${event.workspaceId}/${parentRunId}`;
        const parentStatus = ended.get(key) ?? endedBefore.get(key);
        if (parentStatus !== undefined) cancel(child, parentStatus, event);
        return;
      }
      const status = endOf(event);
      if (status !== undefined) onEnd(event, runId, status);
    },
    async sweep(position) {
      sweeps++;
      const before = doubtPosition;
      if (before === undefined && sweeps % lookEvery !== 0) return;
      // What the tables do not show yet is for the next time.
      if (before !== undefined && before <= position) doubtPosition = undefined;
      try {
        const [untold, left] = await Promise.all([untoldEnds(db, pageSize), orphans(db, pageSize)]);
        for (const { status, ...child } of untold) tell(child, status);
        for (const child of left) cancel(child, undefined);
        if (untold.length === pageSize || left.length === pageSize) doubt();
      } catch (error) {
        doubt(before);
        throw error;
      }
    },
  };
}
