import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { QueryResult, QueryResultRow } from "pg";
import { type Run, RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { EventRecord, type StoredMessage } from "../../../src/eventlog/record.ts";
import type { Postgres, Statement } from "../../../src/readmodel/postgres.ts";
import { evolveRun } from "../../../src/runs/resource.ts";

/** A run as the events that the read model has seen make it. */
export interface Row {
  readonly run: Run;
  readonly createPosition: bigint;
}

/** The runs of the log as it is now, or a little behind when the log says so. Each event is folded once. */
export function createRunTable(readLog: (after: bigint) => Promise<readonly StoredMessage[]>): () => Promise<Row[]> {
  const rows = new Map<string, Row>();
  let seen = 0n;
  return async () => {
    for (const stored of await readLog(seen)) {
      const { event, position } = new EventRecord(stored);
      const id = event.stream?.id ?? "";
      const before = rows.get(id);
      const run = evolveRun(before?.run, event);
      if (run !== undefined) rows.set(id, { run, createPosition: before?.createPosition ?? position });
      seen = position;
    }
    return [...rows.values()];
  };
}

/** The queries that the reconciler asks, answered from the runs. `nowMs` is the database's clock. */
export function createSimulatedPostgres(runs: () => Promise<readonly Row[]>, nowMs: () => number): Postgres {
  const answers: Record<string, (rows: readonly Row[], values: readonly unknown[]) => object[]> = {
    runs_overdue: (rows) => rows.filter(({ run }) => isOpen(run) && isPast(run.deadlineTime)).map(named),
    runs_open: (rows, [after]) =>
      rows.filter((row) => needsHelp(row.run) && row.createPosition > (after as bigint)).map(named),
    runs_open_summary: (rows) => [
      {
        open: BigInt(rows.filter(({ run }) => isRunning(run) || isDue(run)).length),
        beyond_lease: BigInt(rows.filter(({ run }) => isRunning(run) && isPast(run.leaseExpireTime)).length),
        next_time: nextTime(rows),
      },
    ],
  };

  function isPast(time: Run["createTime"]): boolean {
    return time !== undefined && timestampMs(time) <= nowMs();
  }

  function isDue(run: Run): boolean {
    return run.status === RunStatus.QUEUED && isPast(run.availableTime);
  }

  function needsHelp(run: Run): boolean {
    return isDue(run) || (isRunning(run) && isPast(run.leaseExpireTime));
  }

  return {
    db: {
      async query<R extends QueryResultRow>({ name, values = [] }: Statement): Promise<QueryResult<R>> {
        const answer = answers[name];
        if (answer === undefined) throw new Error(`the simulation has no answer to the query ${name}`);
        const rows = answer(await runs(), values) as R[];
        return { rows, rowCount: rows.length, command: "SELECT", oid: 0, fields: [] };
      },
    },
    withClient: () => Promise.reject(new Error("the simulation has no database")),
    [Symbol.asyncDispose]: async () => {},
  };
}

function named({ run, createPosition }: Row): object {
  const { workspaceId, runId, status } = run;
  return { workspace_id: workspaceId, run_id: runId, status, create_position: createPosition };
}

/** True until the run has ended. */
export function isOpen({ status }: Run): boolean {
  return status === RunStatus.QUEUED || status === RunStatus.RUNNING || isAtRest(status);
}

function isAtRest(status: RunStatus): boolean {
  return status === RunStatus.WAITING || status === RunStatus.PAUSED;
}

function isRunning({ status }: Run): boolean {
  return status === RunStatus.RUNNING;
}

function nextTime(rows: readonly Row[]): Date | null {
  const times = rows.flatMap(({ run }) => (isOpen(run) && run.deadlineTime ? [timestampDate(run.deadlineTime)] : []));
  return times.toSorted((a, b) => a.getTime() - b.getTime())[0] ?? null;
}
