import { fromBinary } from "@bufbuild/protobuf";
import { type Queue, QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import type { Db } from "../readmodel/postgres.ts";

const listText = "select resource from queues where workspace_id = $1 and name > $2 order by name limit $3";

/** Up to `limit` queues of a workspace that have settings, by name, behind a name; without their numbers. */
export async function listQueues(db: Db, workspaceId: string, after: string, limit: number): Promise<Queue[]> {
  const { rows } = await db.query<{ resource: Uint8Array }>({
    name: "queues_list",
    text: listText,
    values: [workspaceId, after, limit],
  });
  return rows.map(({ resource }) => fromBinary(QueueSchema, resource));
}

/** The settings of every queue of every workspace. */
export async function allQueues(db: Db): Promise<Queue[]> {
  const { rows } = await db.query<{ resource: Uint8Array }>({
    name: "queues_all",
    text: "select resource from queues",
  });
  return rows.map(({ resource }) => fromBinary(QueueSchema, resource));
}
