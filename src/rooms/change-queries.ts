import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { ApprovalSchema } from "../../gen/signalbox/v1/approval_pb.ts";
import { IncidentSchema } from "../../gen/signalbox/v1/incident_pb.ts";
import { MessageSchema } from "../../gen/signalbox/v1/room_pb.ts";
import { RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Db } from "../readmodel/postgres.ts";

/** Changed things of each kind that an answer holds, and their bytes: four kinds fit into what gRPC clients receive. */
const maxItems = 200;
const maxBytes = 768 * 1024;
/** How much of a table is read at once: large fields are dropped only here. */
const batchBytes = 8 * 1024 * 1024;

/** What has changed of one kind. */
export interface Changed<T> {
  /** Those changed last, in the order of their newest event. */
  readonly items: T[];
  /** How many there are. */
  readonly count: bigint;
}

/** Since when, and where. */
export interface ChangeQuery {
  readonly workspaceId: string;
  readonly roomId: string;
  readonly after: bigint;
}

/** Reads what has changed of one kind. */
export type ReadChanged<T> = (db: Db, query: ChangeQuery) => Promise<Changed<T>>;

/** Messages that were posted, edited or redacted. */
export const changedMessages = changedIn("messages", MessageSchema, (message) => message);

/** Runs with any new event, without input and output. */
export const changedRuns = changedIn("runs", RunSchema, (run) => ({ ...run, input: undefined, output: undefined }));

/** Approvals with any new event, without payload. */
export const changedApprovals = changedIn("approvals", ApprovalSchema, (approval) => ({
  ...approval,
  payload: undefined,
}));

/** Incidents with any new event. */
export const changedIncidents = changedIn("incidents", IncidentSchema, (incident) => incident);

/** Reads one table of things that are in rooms; `slim` drops what an answer does not show. */
function changedIn<Desc extends DescMessage>(
  table: string,
  schema: Desc,
  slim: (item: MessageShape<Desc>) => MessageShape<Desc>,
): ReadChanged<MessageShape<Desc>> {
  const where = `from ${table} where workspace_id = $1 and room_id = $2`;
  return async (db, { workspaceId, roomId, after }) => {
    const counted = await db.query<{ count: bigint }>({
      name: `${table}_changed_count`,
      text: `select count(*) ${where} and last_position > $3`,
      values: [workspaceId, roomId, after],
    });
    const places = await db.query<Place>({
      name: `${table}_changed`,
      text: `select last_position, octet_length(resource) as bytes ${where} and last_position > $3 order by last_position desc limit ${maxItems}`,
      values: [workspaceId, roomId, after],
    });
    const items: MessageShape<Desc>[] = [];
    let bytes = 0;
    for (const positions of batches(places.rows)) {
      const { rows } = await db.query<{ resource: Uint8Array }>({
        name: `${table}_changed_read`,
        text: `select resource ${where} and last_position = any($3::bigint[]) order by last_position desc`,
        values: [workspaceId, roomId, positions],
      });
      for (const { resource } of rows) {
        const item = slim(fromBinary(schema, resource));
        bytes += toBinary(schema, item).length;
        if (bytes > maxBytes && items.length > 0) break;
        items.push(item);
      }
      if (bytes > maxBytes) break;
    }
    return { items: items.toReversed(), count: counted.rows[0]?.count ?? 0n };
  };
}

/** Where something changed last, and how large it is. */
interface Place {
  readonly last_position: bigint;
  readonly bytes: number;
}

/** The positions in pieces that can be read at once; one at least in each. */
function* batches(places: readonly Place[]): Generator<bigint[], void> {
  let batch: bigint[] = [];
  let sum = 0;
  for (const { last_position: position, bytes } of places) {
    if (batch.length > 0 && sum + bytes > batchBytes) {
      yield batch;
      batch = [];
      sum = 0;
    }
    batch.push(position);
    sum += bytes;
  }
  if (batch.length > 0) yield batch;
}
