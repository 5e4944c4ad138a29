import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";
import { DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { readPage } from "../../src/readmodel/page.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { findResources } from "../../src/readmodel/resource-page.ts";
import { openTestBackend } from "../support/backend.ts";

const backend = await openTestBackend();
afterAll(() => backend[Symbol.asyncDispose]());
const { db } = backend.postgres;

// Positions 1 to 6; the third alone is more than a page holds.
const sizes = [900_000, 900_000, 3_000_000, 400_000, 1_000, 1_000];
const document = (position: number) => create(DocumentSchema, { documentId: `doc_${position}` });
for (const [index, size] of sizes.entries()) {
  const resource = Buffer.from(toBinary(DocumentSchema, { ...document(index + 1), title: "x".repeat(size) }));
  await db.query({
    name: "insert",
    text: "insert into documents values ('ws_test', $1, $2, $2, 'c', $3)",
    values: [`doc_${index + 1}`, index + 1, resource],
  });
}

/** The ids of each page of a list, and how many resources each took from the database. */
async function pages(order: "asc" | "desc", pageSize: number) {
  const found: { ids: string[]; read: number }[] = [];
  const [comparison, first] = order === "asc" ? [">", 0n] : ["<", 100n];
  for (let token = "", last = false; !last;) {
    const page = readPage("test", [], pageSize, token);
    let read = 0;
    const counting: Db = {
      ...db,
      async query(config) {
        const result = await db.query(config);
        read = result.rows.filter((row) => (row as { resource: unknown }).resource !== null).length;
        return result as never;
      },
    };
    const { items, nextPageToken } = await findResources(counting, {
      name: `test_${order}`,
      text: `select create_position, resource from documents where create_position ${comparison} $1 order by create_position ${order} limit $2`,
      order,
      values: [page.after ?? first, page.size + 1],
      schema: DocumentSchema,
      page,
    });
    found.push({ ids: items.map(({ documentId }) => documentId), read });
    token = nextPageToken;
    last = token === "";
  }
  return found;
}

test("a page ends at 2 MiB or at its size, and none is empty; what does not fit in is not read", async () => {
  expect(await pages("asc", 0)).toEqual([
    { ids: ["doc_1", "doc_2"], read: 2 },
    { ids: ["doc_3"], read: 1 },
    { ids: ["doc_4", "doc_5", "doc_6"], read: 3 },
  ]);
  expect((await pages("desc", 2)).map(({ ids }) => ids)).toEqual([
    ["doc_6", "doc_5"],
    ["doc_4"],
    ["doc_3"],
    ["doc_2", "doc_1"],
  ]);
});
