import { fromBinary } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { type Policy, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { cutRows, findResources, type Found } from "../readmodel/resource-page.ts";

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from policy_versions " +
  "where workspace_id = $1 and create_position < $2 order by create_position desc limit $3";

/** A page of the versions of a workspace's policy, newest first, as they were recorded. */
export function listPolicyVersions(db: Db, workspaceId: string, page: Page): Promise<Found<Policy>> {
  return findResources(db, {
    name: "policy_versions_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, page.size + 1],
    schema: PolicySchema,
    page,
  });
}

/** A version as it was recorded; undefined when there is none. */
export async function findPolicyVersion(db: Db, workspaceId: string, version: bigint): Promise<Policy | undefined> {
  const { rows } = await db.query<{ resource: Uint8Array }>({
    name: "policy_versions_find",
    text: "select resource from policy_versions where workspace_id = $1 and version = $2",
    values: [workspaceId, String(version)],
  });
  return rows[0] && fromBinary(PolicySchema, rows[0].resource);
}

// The types are those of the index, word for word: else it is not used.
const decidedText = cutRows(
  `
select position, body from events
where workspace_id = $1 and position > $2 and position <= $3
  and type in ('tool_call.started', 'tool_call.gated', 'tool_call.denied', 'approval.requested')
  and ($4::timestamptz is null or create_time >= $4)
order by position
limit $5`,
  { large: "body", columns: ["position"], order: "position" },
);

/** A part of the log. */
export interface Stretch {
  /** Exclusive. */
  readonly after: bigint;
  /** Inclusive. */
  readonly upTo: bigint;
  /** Nothing that was recorded before it. */
  readonly since: Date | undefined;
}

/** Events that may hold a decision of a policy, in log order: up to `limit`, and up to 2 MiB; one at least while there are any. */
export async function listDecided(db: Db, workspaceId: string, stretch: Stretch, limit: number): Promise<Event[]> {
  const { after, upTo, since } = stretch;
  const { rows } = await db.query<{ position: bigint; body: Uint8Array | null }>({
    name: "policy_decided",
    text: decidedText,
    values: [workspaceId, after, upTo, since ?? null, limit],
  });
  return rows.flatMap(({ position, body }) => (body === null ? [] : { ...fromBinary(EventSchema, body), position }));
}
