import { Code, ConnectError, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { DocumentService } from "../../../gen/signalbox/v1/document_service_pb.ts";
import { clientOver } from "../../../src/client/clients.ts";
import { vectorAddPack, vectorSearchPack } from "../../../src/tools/packs/vector.ts";
import type { ToolScope } from "../../../src/tools/tool.ts";
import { errorOf, resultOf, scopeOf, toolOf } from "../calling.ts";

function withServer(implementation: Partial<ServiceImpl<typeof DocumentService>>): ToolScope {
  const transport = createRouterTransport((router) => void router.service(DocumentService, implementation));
  return scopeOf({ client: clientOver(transport, {}) });
}

const search = toolOf(vectorSearchPack(), "vector.search");
const add = toolOf(vectorAddPack(), "vector.add");

test("answers citations in plain words", async () => {
  let asked: unknown;
  const scope = withServer({
    searchDocuments({ query, collection, limit, minScore }) {
      asked = { query, collection, limit, minScore };
      const place = { documentId: "doc_1", title: "Guide", start: 3, end: 9 };
      return { citations: [{ ...place, text: "signal", score: 0.5, metadata: { by: "me" } }] };
    },
  });
  expect(await resultOf(search, { query: "What is it?" }, scope)).toEqual({
    citations: [
      { document_id: "doc_1", title: "Guide", start: 3, end: 9, text: "signal", score: 0.5, metadata: { by: "me" } },
    ],
  });
  expect(asked).toEqual({ query: "What is it?", collection: "default", limit: 5, minScore: 0 });
});

test("adds a document once, however often the call is repeated", async () => {
  const added = new Map<string, string>();
  const scope = withServer({
    addDocument({ requestId, text }) {
      added.set(requestId, text);
      return { document: { documentId: "doc_1", chunkCount: 2 }, position: 1n };
    },
  });
  for (let n = 0; n < 2; n++) {
    expect(await resultOf(add, { text: "All of it", title: "T" }, scope)).toEqual({ document_id: "doc_1", chunks: 2 });
  }
  expect([...added]).toEqual([[scope.toolCallId, "All of it"]]);
  expect(add).toMatchObject({ idempotent: true, reversible: true });
});

test("a refusal of the server is the tool's failure, with its reason", async () => {
  const away = withServer({
    searchDocuments() {
      throw new ConnectError("the server is away", Code.Unavailable);
    },
  });
  expect(await errorOf(search, { query: "x" }, away)).toMatchObject({ code: "SERVER_UNAVAILABLE", retryable: true });
});

const bad: object[] = [
  {},
  { query: "" },
  { query: "x", limit: 51 },
  { query: "x", limit: 1.5 },
  { query: "x", minScore: 2 },
  { query: "x", collection: "../other" },
  { query: "x", workspaceId: "ws_other" },
];
for (const args of bad) {
  test(`does not search for ${JSON.stringify(args)}`, async () => {
    expect((await errorOf(search, args)).code).toBe("TOOL_ARGUMENTS_INVALID");
  });
}

test("does not add metadata under names that are none", async () => {
  for (const metadata of [{ "": "x" }, { "a b": "x" }, { a: 1 }, JSON.parse('{"__proto__": "x"}') as object]) {
    const error = await errorOf(add, { text: "x", metadata });
    expect([metadata, error.code]).toEqual([metadata, "TOOL_ARGUMENTS_INVALID"]);
  }
});
