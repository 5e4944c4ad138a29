import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { DocumentAddedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import { createSearch } from "../../src/documents/search.ts";
import { normalized, vectorBytes } from "../../src/documents/vectors.ts";
import type { Db } from "../../src/readmodel/postgres.ts";

const signal = AbortSignal.timeout(20_000);
const scope = { workspaceId: "ws_one", collection: "default", model: "m" };

/** A document whose pieces are single letters, each with a vector. */
function stored(documentId: string, vectors: readonly (readonly number[])[]): readonly [string, Uint8Array] {
  const text = vectors.map((_, index) => String.fromCharCode(97 + (index % 26))).join("");
  const chunks = vectors.map((vector, start) => ({
    start,
    end: start + 1,
    embedding: vectorBytes(normalized(vector)),
  }));
  const document = { documentId, title: `title of ${documentId}`, text, metadata: { n: "1" } };
  return [documentId, toBinary(DocumentAddedSchema, create(DocumentAddedSchema, { document, chunks }))];
}

/** A read model with these documents; `loads` counts the documents that were read. */
function readModel(documents: Map<string, Uint8Array>) {
  const loads: string[][] = [];
  const db = {
    async query({ name, values = [] }: { name: string; values?: unknown[] }) {
      if (name === "documents_searchable") {
        return { rows: [...documents].map(([id, { length }]) => ({ document_id: id, size_bytes: length })) };
      }
      const ids = values[1] as string[];
      loads.push(ids);
      return {
        rows: ids.flatMap((id) => (documents.has(id) ? [{ document_id: id, resource: documents.get(id) }] : [])),
      };
    },
  } as unknown as Db;
  return { db, loads };
}

const question = (vector: readonly number[], fields: { limit?: number; minScore?: number } = {}) => ({
  ...scope,
  limit: 5,
  minScore: 0,
  ...fields,
  vector: normalized(vector),
});

describe("search", () => {
  test("finds the nearest pieces of all documents, nearest first, with what a citation needs", async () => {
    const { db } = readModel(
      new Map([
        stored("doc_1", [
          [1, 0],
          [0, 1],
        ]),
        stored("doc_2", [
          [1, 1],
          [-1, 0],
        ]),
      ]),
    );
    const found = await createSearch({ db }).find(question([1, 0.1]), signal);
    expect(
      found.map(({ documentId, start, end, text, score }) => [documentId, start, end, text, score.toFixed(3)]),
    ).toEqual([
      ["doc_1", 0, 1, "a", "0.995"],
      ["doc_2", 0, 1, "a", "0.774"],
      ["doc_1", 1, 2, "b", "0.100"],
    ]);
    expect(found[0]).toMatchObject({ title: "title of doc_1", metadata: { n: "1" } });
    expect(await createSearch({ db }).find(question([1, 0.1], { limit: 1 }), signal)).toHaveLength(1);
    expect(await createSearch({ db }).find(question([1, 0.1], { minScore: 0.5 }), signal)).toHaveLength(2);
  });

  test("reads what is new only, and finds nothing of what is gone", async () => {
    const documents = new Map([stored("doc_1", [[1, 0]]), stored("doc_2", [[0, 1]])]);
    const { db, loads } = readModel(documents);
    const search = createSearch({ db });
    await search.find(question([1, 0]), signal);
    documents.set(...stored("doc_3", [[1, 1]]));
    documents.delete("doc_1");
    const found = await search.find(question([1, 0]), signal);
    expect(found.map(({ documentId }) => documentId)).toEqual(["doc_3", "doc_2"]);
    expect(loads).toEqual([["doc_1", "doc_2"], ["doc_3"]]);
  });

  test("finds everything when nothing fits into memory, reading again each time", async () => {
    const documents = new Map(Array.from({ length: 1_200 }, (_, n) => stored(`doc_${n}`, [[100, n]])));
    const { db, loads } = readModel(documents);
    const search = createSearch({ db, cacheBytes: 0 });
    for (let round = 0; round < 2; round++) {
      const [best] = await search.find(question([0, 1]), signal);
      expect(best?.documentId).toBe("doc_1199");
    }
    expect(loads.map(({ length }) => length)).toEqual([500, 500, 200, 500, 500, 200]);
  });

  test("reads large documents one by one", async () => {
    const vector = Array.from({ length: 1_000 }, () => 1);
    const large = Array.from({ length: 2_200 }, () => vector);
    const documents = new Map([stored("doc_1", large), stored("doc_2", [vector]), stored("doc_3", large)]);
    const { db, loads } = readModel(documents);
    await createSearch({ db }).find(question(vector), signal);
    expect(loads).toEqual([["doc_1"], ["doc_2"], ["doc_3"]]);
  });

  test("leaves out vectors of another length, and documents without any", async () => {
    const documents = new Map([stored("doc_1", [[1, 0, 0]]), stored("doc_2", []), stored("doc_3", [[0, 1]])]);
    const found = await createSearch({ db: readModel(documents).db }).find(question([0, 1]), signal);
    expect(found.map(({ documentId }) => documentId)).toEqual(["doc_3"]);
  });

  test("stops when its signal aborts", async () => {
    const { db } = readModel(new Map([stored("doc_1", [[1]])]));
    await expect(createSearch({ db }).find(question([1]), AbortSignal.abort())).rejects.toThrow("aborted");
  });
});
