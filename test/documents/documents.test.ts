import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  AddDocumentRequestSchema,
  DeleteDocumentRequestSchema,
  GetDocumentRequestSchema,
} from "../../gen/signalbox/v1/document_service_pb.ts";
import { createDocuments } from "../../src/documents/documents.ts";
import type { Embedder } from "../../src/documents/embedder.ts";
import { localEmbedder } from "../../src/documents/local-embedder.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { callTo } from "./documents.ts";

const unknownId = "doc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const noDb = { query: () => Promise.reject(new Error("commands ask no read model")) } as unknown as Db;

/** Documents on a log in memory; `embedded` collects the texts that vectors were asked for. */
function setUp(limits: { maxTextBytes?: number; maxEventBytes?: number } = {}) {
  const embedded: string[] = [];
  const embedder: Embedder = {
    model: "counted",
    embed(texts, signal) {
      embedded.push(...texts);
      return localEmbedder.embed(texts, signal);
    },
  };
  const log = createEventLog(createMemoryStore(), createSubjects());
  const documents = createDocuments({
    log,
    clock: systemClock,
    ids: randomIds,
    db: noDb,
    embedder,
    positions: { reach: async () => undefined },
    maxTextBytes: 1_000_000,
    maxEventBytes: 4_000_000,
    ...limits,
  });
  return { documents, log, embedded };
}

const adding = (fields: MessageInitShape<typeof AddDocumentRequestSchema> = {}) =>
  create(AddDocumentRequestSchema, { title: "Rules", text: "Red means stop. Green means go.", ...fields });
const naming = (documentId: string) => create(GetDocumentRequestSchema, { documentId });
const deleting = (documentId: string) => create(DeleteDocumentRequestSchema, { documentId });
const reason = (name: string): unknown => expect.objectContaining({ reason: name });

describe("documents", () => {
  test("are added in one event with their vectors, and answered without their text", async () => {
    const { documents, log } = setUp();
    const { document, position } = await documents.add(callTo(), adding({ metadata: { edition: "4" } }));
    expect(document).toMatchObject({
      workspaceId: "ws_one",
      collection: "default",
      title: "Rules",
      text: "",
      metadata: { edition: "4" },
      sizeBytes: 31n,
      chunkCount: 1,
      embeddingModel: "counted",
      createBy: { id: "user_1" },
      position,
    });
    expect(document.documentId).toMatch(/^doc_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    const record = await log.last(log.subjects.all);
    const { payload, type } = record!.event;
    expect(type).toBe("document.added");
    if (payload.case !== "documentAdded") throw new Error("not added");
    expect(payload.value.document).toMatchObject({ documentId: "", text: "Red means stop. Green means go." });
    expect(payload.value.chunks.map(({ start, end, embedding }) => [start, end, embedding.length])).toEqual([
      [0, 31, 1536],
    ]);
    const { document: whole } = await documents.get(callTo(), naming(document.documentId));
    expect(whole).toEqual({ ...document, text: "Red means stop. Green means go." });
  });

  test("a repeated request answers the same document, records nothing and asks for no vectors", async () => {
    const { documents, log, embedded } = setUp();
    const request = adding({ requestId: "r1", metadata: { a: "1", b: "2" } });
    const first = await documents.add(callTo(), request);
    const again = await documents.add(callTo(), adding({ requestId: "r1", metadata: { b: "2", a: "1" } }));
    expect(again).toEqual(first);
    expect(embedded).toHaveLength(1);
    expect((await log.bounds()).head).toBe(1n);
    await expect(documents.add(callTo(), adding({ requestId: "r1", title: "Other" }))).rejects.toEqual(
      reason("REQUEST_ID_REUSED"),
    );
    const elsewhere = await documents.add(callTo("ws_two"), request);
    expect(elsewhere.document.documentId).not.toBe(first.document.documentId);
  });

  test("the same request twice at once adds one document", async () => {
    const { documents, log } = setUp();
    const request = adding({ requestId: "r1" });
    const [first, second] = await Promise.all([documents.add(callTo(), request), documents.add(callTo(), request)]);
    expect(second).toEqual(first);
    expect((await log.bounds()).head).toBe(1n);
  });

  test("a deleted document is not found any more; deleting it again records nothing, and its request still answers it", async () => {
    const { documents, log } = setUp();
    const request = adding({ requestId: "r1" });
    const { document } = await documents.add(callTo(), request);
    const { documentId } = document;
    const first = await documents.delete(callTo(), deleting(documentId));
    expect(first).toEqual({ document: { ...document, position: 2n }, position: 2n });
    expect(await documents.delete(callTo(), deleting(documentId))).toEqual(first);
    await expect(documents.get(callTo(), naming(documentId))).rejects.toEqual(reason("DOCUMENT_NOT_FOUND"));
    expect(await documents.add(callTo(), request)).toEqual(first);
    expect((await log.bounds()).head).toBe(2n);
  });

  test("of another workspace, and those that never were, are not found", async () => {
    const { documents } = setUp();
    const { document } = await documents.add(callTo(), adding());
    for (const [call, id] of [
      [callTo("ws_two"), document.documentId],
      [callTo(), unknownId],
    ] as const) {
      await expect(documents.get(call, naming(id))).rejects.toEqual(reason("DOCUMENT_NOT_FOUND"));
      await expect(documents.delete(call, deleting(id))).rejects.toEqual(reason("DOCUMENT_NOT_FOUND"));
    }
  });

  test("that are too long by themselves or with their vectors are refused, and the limit named", async () => {
    const { documents, log, embedded } = setUp({ maxTextBytes: 2_000, maxEventBytes: 3_000 });
    await expect(documents.add(callTo(), adding({ text: "ü".repeat(1_001) }))).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "2000", size: "2002" },
    });
    expect(embedded).toEqual([]);
    await expect(documents.add(callTo(), adding({ text: "x ".repeat(900) }))).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "3000" },
    });
    expect((await log.bounds()).head).toBe(0n);
  });

  test("of blanks alone are kept, with nothing to be found", async () => {
    const { documents } = setUp();
    expect((await documents.add(callTo(), adding({ text: " \n" }))).document).toMatchObject({ chunkCount: 0 });
  });
});
