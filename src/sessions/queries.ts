import { fromBinary } from "@bufbuild/protobuf";
import { type Session, SessionSchema } from "../../gen/signalbox/v1/session_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";

interface SessionRow {
  create_position: bigint;
  resource: Uint8Array;
}

// A summary has up to 100,000 characters: 200 sessions may be more than an answer should hold.
const pageBytes = 2 * 1024 * 1024;
const newest = 2n ** 63n - 1n;

// One row more than asked for tells whether another page follows.
const listText =
  "select create_position, resource from sessions " +
  "where workspace_id = $1 and create_position < $2 order by create_position desc limit $3";

/** A page of sessions, the last to come into being first, and the token of the next page; empty when this is the last. */
export async function listSessions(
  db: Db,
  workspaceId: string,
  page: Page,
): Promise<{ sessions: Session[]; nextPageToken: string }> {
  const { rows } = await db.query<SessionRow>({
    name: "sessions_list",
    text: listText,
    values: [workspaceId, page.after ?? newest, page.size + 1],
  });
  const shown = cut(rows.slice(0, page.size));
  const last = shown.at(-1);
  return {
    sessions: shown.map(({ resource }) => fromBinary(SessionSchema, resource)),
    nextPageToken: last !== undefined && rows.length > shown.length ? page.tokenAfter(last.create_position) : "",
  };
}

/** The first rows that fit into a page; at least one, however large. */
function cut(rows: readonly SessionRow[]): readonly SessionRow[] {
  let bytes = 0;
  const end = rows.findIndex(({ resource }, index) => (bytes += resource.length) > pageBytes && index > 0);
  return end === -1 ? rows : rows.slice(0, end);
}

/** The session; undefined when no run of the workspace names it. */
export async function findSession(db: Db, workspaceId: string, sessionId: string): Promise<Session | undefined> {
  const { rows } = await db.query<{ resource: Uint8Array }>({
    name: "sessions_find",
    text: "select resource from sessions where workspace_id = $1 and session_id = $2",
    values: [workspaceId, sessionId],
  });
  return rows[0] && fromBinary(SessionSchema, rows[0].resource);
}
