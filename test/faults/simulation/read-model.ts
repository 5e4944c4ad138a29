import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { QueryResult, QueryResultRow } from "pg";
import { type Run, RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { EventRecord, type StoredMessage } from "../../../src/eventlog/record.ts";
import type { Postgres, Statement } from "../../../src/readmodel/postgres.ts";
import { evolveRun } from "../../../src/runs/resource.ts";

interface Row {
  readonly run: Run;
  readonly createPosition: bigint;
}

/** The tables that the reconciler asks, folded anew from the log at each question. `nowMs` is the database's clock. */
export function createSimulatedPostgres(
  readLog: () => Promise<readonly StoredMessage[]>,
  nowMs: () => number,
): Postgres {
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
        const rows = answer(foldRuns(await readLog()), values) as R[];
        return { rows, rowCount: rows.length, command: "SELECT", oid: 0, fields: [] };
      },
    },
    withClient: () => Promise.reject(new Error("the simulation has no database")),
    [Symbol.asyncDispose]: async () => {},
  };
}

function foldRuns(log: readonly StoredMessage[]): Row[] {
  const rows = new Map<string, Row>();
  for (const stored of log) {
    const { event, position } = new EventRecord(stored);
    const id = event.stream?.id ?? "";
    const before = rows.get(id);
    const run = evolveRun(before?.run, event);
    if (run !== undefined) rows.set(id, { run, createPosition: before?.createPosition ?? position });
  }
  return [...rows.values()];
}

function named({ run, createPosition }: Row): object {
  const { workspaceId, runId, status } = run;
  return { workspace_id: workspaceId, run_id: runId, status, create_position: createPosition };
}

function isOpen({ status }: Run): boolean {
  return status === RunStatus.QUEUED || status === RunStatus.RUNNING;
}

function isRunning({ status }: Run): boolean {
  return status === RunStatus.RUNNING;
}

function nextTime(rows: readonly Row[]): Date | null {
  const times = rows.flatMap(({ run }) => (isOpen(run) && run.deadlineTime ? [timestampDate(run.deadlineTime)] : []));
  return times.toSorted((a, b) => a.getTime() - b.getTime())[0] ?? null;
}
