import { create } from "@bufbuild/protobuf";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { type Session, type Turn, TurnSchema } from "../../gen/signalbox/v1/session_pb.ts";
import type {
  CompactSessionRequest,
  GetSessionHistoryRequest,
  GetSessionRequest,
  ListSessionsRequest,
} from "../../gen/signalbox/v1/session_service_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { listSessionRuns, sessionRunPositions } from "../runs/queries.ts";
import { compactSession, runNotInSession, sessionNotFound } from "./decider.ts";
import { findSession, listSessions } from "./queries.ts";
import { sessionAggregate } from "./state.ts";

/** A page of a session's turns. */
export interface History {
  readonly session: Session;
  /** Oldest first. */
  readonly turns: Turn[];
  /** Empty when this is the last page. */
  readonly nextPageToken: string;
}

/** The sessions of all workspaces; every call sees its own workspace only. */
export interface Sessions {
  /** A page of sessions, the last to come into being first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListSessionsRequest): Promise<{ sessions: Session[]; nextPageToken: string }>;
  /** The session. SESSION_NOT_FOUND, READ_MODEL_BEHIND. */
  get(call: Call, request: GetSessionRequest): Promise<Session>;
  /** Its turns, oldest first. SESSION_NOT_FOUND, RUN_NOT_FOUND when after_run_id is none of its runs, READ_MODEL_BEHIND. */
  history(call: Call, request: GetSessionHistoryRequest): Promise<History>;
  /** Records a summary. SESSION_NOT_FOUND, RUN_NOT_FOUND, INVALID_STATE, CONTENTION, READ_MODEL_BEHIND. */
  compact(call: Call, request: CompactSessionRequest): Promise<{ session: Session; position: bigint }>;
}

/** What sessions need. */
export interface SessionsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
}

/** The sessions on a log and its read models. */
export function createSessions({ db, positions, ...deps }: SessionsDeps): Sessions {
  const aggregates = createAggregates(sessionAggregate, deps);

  async function find({ workspaceId }: Call, sessionId: string): Promise<Session> {
    const session = await findSession(db, workspaceId, sessionId);
    if (session === undefined) throw sessionNotFound(sessionId);
    return session;
  }

  async function history(call: Call, request: GetSessionHistoryRequest): Promise<History> {
    const { sessionId, afterRunId, pageSize, pageToken, minPosition } = request;
    const page = readPage("turns", [call.workspaceId, sessionId, afterRunId], pageSize, pageToken);
    await positions.reach(minPosition, call.signal);
    const session = await find(call, sessionId);
    const after = page.after ?? (await positionOf(call, sessionId, afterRunId));
    const { items, nextPageToken } = await listSessionRuns(db, call.workspaceId, sessionId, { ...page, after });
    return { session, turns: items.map(turnOf), nextPageToken };
  }

  /** Where a run of the session stands in the log; undefined when none is named. */
  async function positionOf({ workspaceId }: Call, sessionId: string, runId: string): Promise<bigint | undefined> {
    if (runId === "") return undefined;
    const position = (await sessionRunPositions(db, workspaceId, sessionId, [runId])).get(runId);
    if (position === undefined) throw runNotInSession(runId, sessionId);
    return position;
  }

  async function compact(call: Call, request: CompactSessionRequest): Promise<{ session: Session; position: bigint }> {
    const { workspaceId, signal } = call;
    const { sessionId, throughRunId } = request;
    // Runs are looked up in the read model: it must have heard of every run that the caller can know.
    await positions.reach((await deps.log.bounds()).head, signal);
    await find(call, sessionId);
    const { compaction } = (await aggregates.load(workspaceId, sessionId)).state;
    const runIds = [throughRunId, ...(compaction === undefined ? [] : [compaction.throughRunId])];
    const places = await sessionRunPositions(db, workspaceId, sessionId, runIds);
    const { position } = await aggregates.execute({
      call,
      id: sessionId,
      decide: (state) => compactSession(state, request, places),
    });
    await positions.reach(position, signal);
    return { session: await find(call, sessionId), position };
  }

  return {
    history,
    compact,
    async list({ workspaceId, signal }, { pageSize, pageToken, minPosition }) {
      const page = readPage("sessions", [workspaceId], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listSessions(db, workspaceId, page);
      return { sessions: items, nextPageToken };
    },
    async get(call, { sessionId, minPosition }) {
      await positions.reach(minPosition, call.signal);
      return find(call, sessionId);
    },
  };
}

function turnOf({ runId, status, input, output, createTime, endTime }: Run): Turn {
  return create(TurnSchema, { runId, status, input, output, createTime, endTime });
}
