import type { JsonValue } from "@bufbuild/protobuf";
import type { Output } from "../output.ts";

/** The largest page that the server gives. */
const maxPageSize = 200;

/** The first `limit` items of a list that comes in pages. */
export async function pages<Item>(
  limit: number,
  read: (page: { pageSize: number; pageToken: string }) => Promise<{ items: Item[]; nextPageToken: string }>,
): Promise<Item[]> {
  const found: Item[] = [];
  let pageToken = "";
  do {
    const page = await read({ pageSize: Math.min(limit - found.length, maxPageSize), pageToken });
    found.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && found.length < limit);
  return found;
}

/** A list: one JSON value per line, or a table. */
export function showList<Item>(
  output: Output,
  items: readonly Item[],
  json: (item: Item) => JsonValue,
  text: (items: readonly Item[]) => string,
): void {
  output.say(text(items));
  if (!output.json) return;
  for (const item of items) output.show(json(item), "");
}
