import { Code } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { createConnectTransport as createBrowserTransport } from "@connectrpc/connect-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { allProjections } from "../../src/cli/serve.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { rebuild } from "../../src/readmodel/rebuild.ts";
import { verify } from "../../src/readmodel/verify.ts";
import { countingVector, embeddings, openProvider, type Provider } from "../documents/provider.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const newClient = () => installation.client({ workspaceId: newWorkspaceId() });

const books = {
  signals: "A red signal means stop. A yellow signal means caution. A green signal means that the line is clear.",
  points: "Points are moved by levers or by motors. Points that are not locked must not be passed.",
  tickets: "Tickets are refunded within thirty days. A ticket that was used is not refunded.",
};

/** A workspace with the three books; resolves once they can be searched. */
async function openLibrary(client = newClient()) {
  const ids: Record<string, string> = {};
  let minPosition = 0n;
  for (const [title, text] of Object.entries(books)) {
    const { document, position } = await client.documents.addDocument({ title, text, metadata: { shelf: "7" } });
    ids[title] = document?.documentId ?? "";
    minPosition = position;
  }
  return { client, ids, minPosition };
}

const titles = async (client: SignalboxClient, query: string, fields: object = {}) =>
  (await client.documents.searchDocuments({ query, ...fields })).citations.map(({ title }) => title);

describe("a search", () => {
  test("finds the piece that answers the question, and says where it stands", async () => {
    const { client, ids, minPosition } = await openLibrary();
    const { citations } = await client.documents.searchDocuments({ query: "is a used ticket refunded?", minPosition });
    expect(citations[0]).toMatchObject({
      documentId: ids["tickets"],
      title: "tickets",
      start: 0,
      end: books.tickets.length,
      text: books.tickets,
      metadata: { shelf: "7" },
    });
    expect(citations[0]!.score).toBeGreaterThan(0.3);
    expect(citations[0]!.score).toBeGreaterThan(citations[1]?.score ?? 0);
    expect(await titles(client, "what does a yellow signal mean?", { limit: 1 })).toEqual(["signals"]);
    expect(await titles(client, "what does a yellow signal mean?", { minScore: 0.99 })).toEqual([]);
  });

  test("of a long document names the spans of its pieces", async () => {
    const client = newClient();
    const filler = Array.from({ length: 60 }, (_, n) => `Paragraph ${n} is about nothing in particular.`).join("\n\n");
    const text = `${filler}\n\n🚂 The whistle post stands at kilometre forty.\n\n${filler}`;
    const { document, position: minPosition } = await client.documents.addDocument({ title: "line", text });
    expect(document?.chunkCount).toBeGreaterThan(5);
    const { citations } = await client.documents.searchDocuments({ query: "where is the whistle post", minPosition });
    const [{ start, end, text: piece } = { start: 0, end: 0, text: "" }] = citations;
    expect(piece).toContain("🚂 The whistle post");
    expect(text.slice(start, end)).toBe(piece);
  });

  test("sees what was added before its min_position, and nothing that was deleted before it", async () => {
    const { client, ids } = await openLibrary();
    for (let round = 0; round < 5; round++) {
      const { document, position } = await client.documents.addDocument({
        title: "whistles",
        text: "Whistles are blown twice.",
      });
      expect(await titles(client, "whistles", { minPosition: position, limit: 1 })).toEqual(["whistles"]);
      const gone = await client.documents.deleteDocument({ documentId: document?.documentId ?? "" });
      expect(await titles(client, "whistles blown twice", { minPosition: gone.position, minScore: 0.5 })).toEqual([]);
    }
    const { position: minPosition } = await client.documents.deleteDocument({ documentId: ids["signals"] ?? "" });
    const { documents } = await client.documents.listDocuments({ minPosition });
    expect(documents.map(({ title }) => title)).toEqual(["tickets", "points"]);
  });

  test("stays inside its collection and its workspace", async () => {
    const { client, minPosition } = await openLibrary();
    const stranger = newClient();
    expect(await titles(stranger, "red signal", { minPosition })).toEqual([]);
    const text = "A red signal in another collection.";
    const added = await client.documents.addDocument({ title: "other", text, collection: "other" });
    expect(await titles(client, "red signal", { collection: "other", minPosition: added.position })).toEqual(["other"]);
    expect(await titles(client, "red signal", { limit: 50 })).not.toContain("other");
    const { documents } = await client.documents.listDocuments({ collection: "other", minPosition: added.position });
    expect(documents.map(({ title }) => title)).toEqual(["other"]);
  });
});

test("lists come newest first, in pages, without texts", async () => {
  const { client, minPosition } = await openLibrary();
  const first = await client.documents.listDocuments({ pageSize: 2, minPosition });
  expect(first.documents.map(({ title, text }) => [title, text])).toEqual([
    ["tickets", ""],
    ["points", ""],
  ]);
  const second = await client.documents.listDocuments({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second.documents.map(({ title }) => title)).toEqual(["signals"]);
  expect(second.nextPageToken).toBe("");
});

describe("is refused", () => {
  test("what is too large", async () => {
    const client = newClient();
    const tooLong = client.documents.addDocument({ text: "x".repeat(1024 * 1024 + 1) });
    expect(await refusal(tooLong)).toMatchObject({ code: Code.ResourceExhausted, reason: "PAYLOAD_TOO_LARGE" });
  });

  test("what does not keep the contract", async () => {
    const client = newClient();
    const bad = [
      () => client.documents.addDocument({ text: "" }),
      () => client.documents.addDocument({ text: "x", collection: "a.b" }),
      () => client.documents.searchDocuments({ query: "" }),
      () => client.documents.searchDocuments({ query: "x", limit: 51 }),
      () => client.documents.searchDocuments({ query: "x", minScore: Number.NaN }),
      () => client.documents.getDocument({ documentId: "doc_1" }),
    ];
    for (const call of bad) expect(await refusal(call())).toMatchObject({ reason: "INVALID_REQUEST" });
  });
});

test("a document of a mebibyte of text is added, searched and read back", async () => {
  const client = newClient();
  const line = (n: number) => `Line ${n} of the working timetable has a train at minute ${n % 60}. `;
  const text = Array.from({ length: 40_000 }, (_, n) => line(n))
    .join("")
    .slice(0, 1024 * 1024);
  const { document, position: minPosition } = await client.documents.addDocument({ title: "timetable", text });
  expect(document).toMatchObject({ sizeBytes: 1_048_576n });
  expect((await client.documents.getDocument({ documentId: document?.documentId ?? "" })).document?.text).toBe(text);
  const { citations } = await client.documents.searchDocuments({ query: "working timetable", minPosition, limit: 50 });
  expect(citations).toHaveLength(50);
  expect(citations.every(({ start, end, text: piece }) => text.slice(start, end) === piece)).toBe(true);
});

test.each([
  ["gRPC", createGrpcTransport({ baseUrl: installation.url })],
  [
    "Connect with JSON",
    createConnectTransport({ baseUrl: installation.url, httpVersion: "1.1", useBinaryFormat: false }),
  ],
  ["the transport of browsers", createBrowserTransport({ baseUrl: installation.url })],
])("everything works over %s", async (_name, transport) => {
  const { client, ids, minPosition } = await openLibrary(
    installation.client({ transport, workspaceId: newWorkspaceId() }),
  );
  expect(await titles(client, "points that are not locked", { minPosition, limit: 1 })).toEqual(["points"]);
  const documentId = ids["points"] ?? "";
  expect((await client.documents.getDocument({ documentId })).document?.text).toBe(books.points);
  const { position } = await client.documents.deleteDocument({ documentId });
  expect((await client.documents.listDocuments({ minPosition: position })).documents).toHaveLength(2);
  expect(await refusal(client.documents.getDocument({ documentId }))).toMatchObject({ reason: "DOCUMENT_NOT_FOUND" });
});

test("curl can do it", async () => {
  const headers = { "x-workspace-id": newWorkspaceId() };
  const added = await postJson<{ position: string }>(
    installation.url,
    "DocumentService/AddDocument",
    { text: "Mind the gap." },
    headers,
  );
  const body = { query: "the gap", minPosition: added.body.position };
  const found = await postJson<{ citations: { text: string }[] }>(
    installation.url,
    "DocumentService/SearchDocuments",
    body,
    headers,
  );
  expect(found.body.citations.map(({ text }) => text)).toEqual(["Mind the gap."]);
});

test("after a restart and a rebuild everything is found as before, and the tables are what the log says", async () => {
  const { client, ids, minPosition } = await openLibrary();
  const { position } = await client.documents.deleteDocument({ documentId: ids["points"] ?? "" });
  const query = { query: "red signal", minPosition: position };
  const before = await client.documents.searchDocuments(query);
  const [server] = installation.servers;
  await server!.stop();
  const options = { ...installation.backend, projections: allProjections };
  await rebuild(options);
  const verification = await verify(options);
  expect(verification).toMatchObject({ differences: [], complete: true });
  expect(verification.head).toBeGreaterThanOrEqual(minPosition);
  await server!.start();
  expect(await client.documents.searchDocuments(query)).toEqual(before);
  const { documents } = await client.documents.listDocuments({});
  expect(documents.map(({ title }) => title)).toEqual(["tickets", "signals"]);
});

describe("with a provider of embeddings", () => {
  let provider: Provider;
  let ill = false;
  const opened = new AsyncDisposableStack();
  beforeAll(async () => {
    provider = opened.use(
      await openProvider(({ input }) => (ill ? { status: 400, body: "" } : embeddings(input.map(countingVector)))),
    );
  });
  afterAll(() => opened.disposeAsync());

  test("its vectors are used, its name is kept, and other models' documents are not compared", async () => {
    const shared = opened.use(await openInstallation({ embeddings: { url: provider.url, model: "counting" } }));
    const client = shared.client();
    const { document } = await client.documents.addDocument({ title: "many", text: "aaaaaaab" });
    const { position: minPosition } = await client.documents.addDocument({ title: "few", text: "abbbbbbb" });
    expect(document).toMatchObject({ embeddingModel: "counting" });
    expect(await titles(client, "aaaa", { minPosition })).toEqual(["many", "few"]);
    ill = true;
    const refused = client.documents.addDocument({ text: "x" });
    expect(await refusal(refused)).toMatchObject({ code: Code.Unavailable, reason: "STORE_UNAVAILABLE" });
    ill = false;
  });
});
