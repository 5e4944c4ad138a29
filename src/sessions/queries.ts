import { fromBinary } from "@bufbuild/protobuf";
import { type Session, SessionSchema } from "../../gen/signalbox/v1/session_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from sessions " +
  "where workspace_id = $1 and create_position < $2 order by create_position desc limit $3";

/** A page of sessions, the last to come into being first. */
export function listSessions(db: Db, workspaceId: string, page: Page): Promise<Found<Session>> {
  return findResources(db, {
    name: "sessions_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, page.size + 1],
    schema: SessionSchema,
    page,
  });
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
