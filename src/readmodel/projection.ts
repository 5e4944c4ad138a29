import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** A resource as one row of a read model. */
export interface Row<Resource> {
  readonly workspaceId: string;
  readonly id: string;
  readonly resource: Resource;
  /** Position of the event that created it. */
  readonly createPosition: bigint;
  /** Position of the last event that changed it. */
  readonly lastPosition: bigint;
}

/** A column beside those that every table has (workspace_id, the id, create_position, last_position, resource). */
export interface Column<Resource> {
  readonly name: string;
  /** The Postgres type, for example `text`. */
  readonly type: string;
  readonly value: (resource: Resource) => string | number | bigint | Date | Buffer | null;
}

/** How the events of the log become the rows of one table. Pure. */
export interface Projection<Desc extends DescMessage = DescMessage> {
  readonly table: string;
  readonly idColumn: string;
  readonly schema: Desc;
  readonly columns: readonly Column<MessageShape<Desc>>[];
  /** The ids of the rows that an event changes; empty for none. */
  readonly idsOf: (event: Event) => readonly string[];
  /** The resource after an event; undefined when there is none (yet). */
  readonly evolve: (
    resource: MessageShape<Desc> | undefined,
    event: Event,
    id: string,
  ) => MessageShape<Desc> | undefined;
  /** True when other streams may make a row before the stream of its name begins. Default false. */
  readonly precedesStream?: boolean;
}

/** A projection with its message type forgotten, to be listed with others. Rows stay consistent within one projection. */
export type AnyProjection = ReturnType<typeof eraseProjection>;

/** The SQL and mapping of a projection, made once. */
export function eraseProjection<Desc extends DescMessage>(projection: Projection<Desc>) {
  type Resource = MessageShape<Desc>;
  const { table, idColumn, schema, columns } = projection;
  const base: readonly { name: string; type: string; value: (row: Row<Resource>) => unknown }[] = [
    { name: "workspace_id", type: "text", value: (row) => row.workspaceId },
    { name: idColumn, type: "text", value: (row) => row.id },
    { name: "create_position", type: "bigint", value: (row) => row.createPosition },
    { name: "last_position", type: "bigint", value: (row) => row.lastPosition },
    { name: "resource", type: "bytea", value: (row) => Buffer.from(toBinary(schema, row.resource)) },
  ];
  const all = [
    ...base,
    ...columns.map(({ name, type, value }) => ({
      name,
      type,
      value: (row: Row<Resource>): unknown => value(row.resource),
    })),
  ];
  const names = all.map(({ name }) => name);
  return {
    table,
    idsOf: projection.idsOf,
    precedesStream: projection.precedesStream ?? false,
    loadText:
      `select workspace_id, ${idColumn} as id, create_position, last_position, resource from ${table} ` +
      `where (workspace_id, ${idColumn}) in (select * from unnest($1::text[], $2::text[]))`,
    upsertText:
      `insert into ${table} (${names.join(", ")}) ` +
      `select * from unnest(${all.map(({ type }, index) => `$${index + 1}::${type}[]`).join(", ")}) ` +
      `on conflict (workspace_id, ${idColumn}) do update set ` +
      names.map((name) => `${name} = excluded.${name}`).join(", "),
    /** One array per column, for `upsertText`. */
    values: (rows: readonly Row<unknown>[]): unknown[][] =>
      all.map(({ value }) => rows.map((row) => value(row as Row<Resource>))),
    decode: (resource: Uint8Array): unknown => fromBinary(schema, resource),
    evolve: (resource: unknown, event: Event, id: string): unknown =>
      projection.evolve(resource as Resource | undefined, event, id),
  };
}
