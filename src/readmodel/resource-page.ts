import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import type { Page } from "./page.ts";
import type { Db } from "./postgres.ts";

/** A page of resources: cut at 2 MiB as well as at its size. */
export interface Found<T> {
  readonly items: T[];
  /** Empty when this is the last page. */
  readonly nextPageToken: string;
}

/** What to list. */
export interface ResourceList<Desc extends DescMessage> {
  /** The statement's name. */
  readonly name: string;
  /** SQL for `create_position, resource`, in `order` of the first; its limit is `page.size + 1`. */
  readonly text: string;
  readonly order: "asc" | "desc";
  readonly values: readonly unknown[];
  readonly schema: Desc;
  readonly page: Page;
}

/** More than an answer should hold. */
const pageBytes = 2 * 1024 * 1024;

/** Reads a page of resources; at least one, however large. What does not fit in is not read at all. */
export async function findResources<Desc extends DescMessage>(
  db: Db,
  { name, text, order, values, schema, page }: ResourceList<Desc>,
): Promise<Found<MessageShape<Desc>>> {
  const { rows } = await db.query<{ create_position: bigint; resource: Uint8Array | null }>({
    name,
    text: cutRows(text, { large: "resource", columns: ["create_position"], order: `create_position ${order}` }),
    values: [...values],
  });
  const items: MessageShape<Desc>[] = [];
  for (const { resource } of rows.slice(0, page.size)) {
    if (resource === null) break;
    items.push(fromBinary(schema, resource));
  }
  // One row more than asked for tells whether another page follows.
  const last = rows[items.length - 1];
  return { items, nextPageToken: last && rows.length > items.length ? page.tokenAfter(last.create_position) : "" };
}

/** Rows of which one column may be large. */
export interface LargeRows {
  readonly large: string;
  /** The columns beside it. */
  readonly columns: readonly string[];
  /** What `text` orders its rows by, each in a place of its own. */
  readonly order: string;
}

/**
 * SQL for the rows of `text`, with null for the large column of those behind the first 2 MiB of it; the first row has its
 * own in any case. How long a value is is known without reading it: what is left out costs neither time nor memory.
 */
export function cutRows(text: string, { large, columns, order }: LargeRows): string {
  return `
select ${columns.join(", ")}, case when bytes <= ${pageBytes} or bytes = octet_length(${large}) then ${large} end as ${large}
from (
  select *, sum(octet_length(${large})) over (order by ${order}) as bytes
  from (${text}) as listed
) as measured
order by ${order}`;
}
