import { create } from "@bufbuild/protobuf";
import { type Queue, QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import type { GetQueueRequest, ListQueuesRequest, PutQueueRequest } from "../../gen/signalbox/v1/queue_service_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { readNamePage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { putQueue, queueNotFound } from "./decider.ts";
import { listQueues } from "./queries.ts";
import { queueAggregate } from "./state.ts";

/** The numbers of a queue that has open runs. */
export interface QueueNumbers {
  readonly queue: string;
  readonly queued: bigint;
  readonly running: bigint;
}

/** The queues of all workspaces; every call sees its own workspace only. */
export interface Queues {
  /** Sets all settings of a queue. ETAG_MISMATCH. */
  put(call: Call, request: PutQueueRequest): Promise<{ queue: Queue; position: bigint }>;
  /** A queue with its numbers. QUEUE_NOT_FOUND, READ_MODEL_BEHIND. */
  get(call: Call, request: GetQueueRequest): Promise<{ queue: Queue }>;
  /** A page of the queues that have settings or open runs, by name. READ_MODEL_BEHIND. */
  list(call: Call, request: ListQueuesRequest): Promise<{ queues: Queue[]; nextPageToken: string }>;
}

/** What queues need. */
export interface QueuesDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  /** Up to `limit` queues of a workspace with open runs, by name: those behind `after`. */
  readonly countRuns: (db: Db, workspaceId: string, after: string, limit: number) => Promise<QueueNumbers[]>;
  /** The same of one queue; undefined when it has no open runs. */
  readonly countRunsOf: (db: Db, workspaceId: string, queue: string) => Promise<QueueNumbers | undefined>;
}

/** The queues on a log and its read models. */
export function createQueues({ db, positions, countRuns, countRunsOf, ...deps }: QueuesDeps): Queues {
  const aggregates = createAggregates(queueAggregate, deps);

  return {
    async put(call, { queue: wanted }) {
      if (wanted === undefined) throw new SignalboxError("INVALID_REQUEST", "queue is missing: name the one to set");
      const { state, position } = await aggregates.execute({
        call,
        id: wanted.name,
        decide: (before) => putQueue(before, wanted),
      });
      if (state.status === "absent") throw queueNotFound(wanted.name);
      return { queue: state.queue, position };
    },
    async get({ workspaceId, signal }, { name, minPosition }) {
      await positions.reach(minPosition, signal);
      const [{ state }, numbers] = await Promise.all([
        aggregates.load(workspaceId, name),
        countRunsOf(db, workspaceId, name),
      ]);
      const settings = state.status === "absent" ? undefined : state.queue;
      if (settings === undefined && numbers === undefined) throw queueNotFound(name);
      return { queue: withNumbers(workspaceId, name, settings, numbers) };
    },
    async list({ workspaceId, signal }, { pageSize, pageToken, minPosition }) {
      const page = readNamePage("queues", [workspaceId], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const after = page.after ?? "";
      // One row more than asked for tells whether another page follows.
      const limit = page.size + 1;
      const [kept, used] = await Promise.all([
        listQueues(db, workspaceId, after, limit),
        countRuns(db, workspaceId, after, limit),
      ]);
      const settings = new Map(kept.map((queue) => [queue.name, queue]));
      const numbers = new Map(used.map((each) => [each.queue, each]));
      const names = [...new Set([...settings.keys(), ...numbers.keys()])].toSorted(byBytes);
      const shown = names.slice(0, page.size);
      return {
        queues: shown.map((name) => withNumbers(workspaceId, name, settings.get(name), numbers.get(name))),
        nextPageToken: names.length > shown.length ? page.tokenAfter(shown.at(-1) ?? "") : "",
      };
    },
  };
}

/** The order of the tables, whose names are compared byte by byte. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function withNumbers(
  workspaceId: string,
  name: string,
  settings: Queue | undefined,
  numbers: QueueNumbers | undefined,
): Queue {
  return {
    ...(settings ?? create(QueueSchema, { name, workspaceId })),
    queuedRuns: numbers?.queued ?? 0n,
    runningRuns: numbers?.running ?? 0n,
  };
}
