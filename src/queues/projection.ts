import { QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import { type AnyProjection, eraseProjection, type Projection } from "../readmodel/projection.ts";
import { evolveQueue } from "./resource.ts";

const queues: Projection<typeof QueueSchema> = {
  table: "queues",
  idColumn: "name",
  schema: QueueSchema,
  columns: [],
  idsOf: ({ stream }) => (stream?.type === "queue" ? [stream.id] : []),
  evolve: evolveQueue,
};

/** The tables of this noun. */
export const queueProjections: readonly AnyProjection[] = [eraseProjection(queues)];
