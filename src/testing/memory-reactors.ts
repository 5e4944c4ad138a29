import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { IdSource } from "../kernel/ids.ts";
import { candidateOf } from "../runs/candidate.ts";
import { cancelRun, expireRun, isOpen } from "../runs/decider.ts";
import { makeJob } from "../runs/make-job.ts";
import type { RunState } from "../runs/state.ts";
import { createSystemCommand } from "../runs/system-command.ts";
import { endChild, wakeRun } from "../runs/wait-decider.ts";
import type { MemoryLists } from "./memory-lists.ts";
import type { TestClock } from "./test-clock.ts";

/** What happens by itself in a test: jobs are made, parents hear of their children, times come. */
export interface MemoryReactors {
  /** Reacts to a record that the lists have taken. */
  react(record: EventRecord): Promise<void>;
  /** Does what is due now that the clock was moved. */
  onTime(): Promise<void>;
  /** When something is due next; undefined when nothing waits for a time. */
  nextTime(): Date | undefined;
}

/** What the reactors need. */
export interface MemoryReactorsDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly lists: MemoryLists;
  readonly jobs: Jobs;
  readonly clock: TestClock;
  readonly ids: IdSource;
}

/** The reactions of the production reactors, one after the other and without a leader, a table or a timer. */
export function createMemoryReactors({ aggregates, lists, jobs, clock, ids }: MemoryReactorsDeps): MemoryReactors {
  const command = createSystemCommand(aggregates, ids);
  const open = () => lists.all().filter((run) => run.endTime === undefined);

  async function onEnd(run: Run): Promise<void> {
    if (run.parentRunId !== "") {
      await command(run.workspaceId, run.parentRunId, (state) => endChild(state, run.runId, run.status));
    }
    for (const child of open().filter(({ parentRunId }) => parentRunId === run.runId)) {
      await command(run.workspaceId, child.runId, (state) =>
        isOpen(state) ? cancelRun(state, child.runId, `its parent ${run.runId} has ended`) : undefined,
      );
    }
  }

  return {
    async react({ event, position }) {
      if (event.stream?.type !== "run") return;
      const run = lists.run(event.stream.id);
      if (run === undefined) return;
      const { state } = await aggregates.load(run.workspaceId, run.runId);
      if (state.status === "queued") {
        const requeued = state.requeuePosition === position;
        await makeJob(jobs, { ...candidateOf(state), requeued }, ids.next("job"));
      }
      if (terminalRunTypes.has(event.type)) await onEnd(run);
    },
    async onTime() {
      for (const { workspaceId, runId } of open()) {
        await command(workspaceId, runId, (state) => expireRun(state, clock.now()) ?? wakeRun(state, clock.now()));
      }
    },
    nextTime() {
      const times = open().flatMap(timesOf);
      return times.length === 0 ? undefined : new Date(Math.min(...times));
    },
  };
}

/** When something becomes of a run by itself. */
function timesOf({ status, deadlineTime, waitingOn }: Run): number[] {
  const waits = status === RunStatus.WAITING ? (waitingOn?.conditions ?? []) : [];
  const times = waits.flatMap(({ condition }) => (condition.case === "time" ? [condition.value] : []));
  return [...times, ...(deadlineTime ? [deadlineTime] : [])].map((time) => timestampDate(time).getTime());
}
