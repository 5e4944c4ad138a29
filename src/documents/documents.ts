import { create, toBinary } from "@bufbuild/protobuf";
import { type Citation, type Document, DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { type DocumentAdded, DocumentAddedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import {
  type AddDocumentRequest,
  AddDocumentRequestSchema,
  type DeleteDocumentRequest,
  type GetDocumentRequest,
  type ListDocumentsRequest,
  type SearchDocumentsRequest,
} from "../../gen/signalbox/v1/document_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { derivedId } from "../kernel/ids.ts";
import { requireSize } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { cutText } from "./chunks.ts";
import { addDocument, type Creation, deleteDocument, documentNotFound, isRepeat } from "./decider.ts";
import type { Embedder } from "./embedder.ts";
import { listDocuments } from "./queries.ts";
import { withoutText } from "./resource.ts";
import { createSearch } from "./search.ts";
import { documentAggregate, type DocumentState } from "./state.ts";
import { vectorBytes } from "./vectors.ts";

/** A document without its text, and where the log stood after the command. */
export interface DocumentAt {
  readonly document: Document;
  readonly position: bigint;
}

/** The documents of all workspaces; every call sees its own workspace only. Every function throws what document_service.proto names. */
export interface Documents {
  add(call: Call, request: AddDocumentRequest): Promise<DocumentAt>;
  get(call: Call, request: GetDocumentRequest): Promise<{ document: Document }>;
  list(call: Call, request: ListDocumentsRequest): Promise<{ documents: Document[]; nextPageToken: string }>;
  delete(call: Call, request: DeleteDocumentRequest): Promise<DocumentAt>;
  search(call: Call, request: SearchDocumentsRequest): Promise<{ citations: Citation[] }>;
}

/** What documents need. */
export interface DocumentsDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly embedder: Embedder;
  /** The longest text, in bytes of UTF-8. */
  readonly maxTextBytes: number;
  /** The most that a text and its vectors may have together: what the log takes and readers of events can receive. */
  readonly maxEventBytes: number;
}

const defaultCollection = "default";
const defaultLimit = 5;
const split = "split it into several documents";

/** The documents on a log and its read models. */
export function createDocuments(deps: DocumentsDeps): Documents {
  const { db, positions, embedder, maxTextBytes, maxEventBytes, ids } = deps;
  const aggregates = createAggregates(documentAggregate, deps);
  const searching = createSearch({ db });

  /** The event's payload. Everything that takes long is done before the decision. */
  async function embedded(
    request: AddDocumentRequest,
    digest: Uint8Array,
    signal: AbortSignal,
  ): Promise<DocumentAdded> {
    const { collection, title, text, metadata } = request;
    const spans = cutText(text);
    const vectors = await embedder.embed(
      spans.map(({ start, end }) => text.slice(start, end)),
      signal,
    );
    const added = create(DocumentAddedSchema, {
      document: create(DocumentSchema, {
        collection: collection || defaultCollection,
        title,
        text,
        metadata,
        sizeBytes: BigInt(Buffer.byteLength(text)),
        chunkCount: spans.length,
        embeddingModel: embedder.model,
      }),
      chunks: spans.map((span, index) => ({ ...span, embedding: vectorBytes(vectors[index] ?? new Float32Array()) })),
      requestDigest: digest,
    });
    requireSize("the text with its vectors", toBinary(DocumentAddedSchema, added).length, maxEventBytes, split);
    return added;
  }

  return {
    async add(call, request) {
      const { requestId, text } = request;
      requireSize("text", Buffer.byteLength(text), maxTextBytes, split);
      const repeatable = requestId !== "";
      const creation: Creation = {
        documentId: repeatable ? derivedId("doc", call.workspaceId, "AddDocument", requestId) : ids.next("doc"),
        requestId,
        requestDigest: repeatable ? requestDigest(AddDocumentRequestSchema, request) : new Uint8Array(),
      };
      const { documentId: id } = creation;
      if (repeatable) {
        // A repeat is answered without asking for vectors again.
        const known = await aggregates.load(call.workspaceId, id);
        if (isRepeat(known.state, creation)) return answer(known, id);
      }
      const added = await embedded(request, creation.requestDigest, call.signal);
      const decide = (state: DocumentState) => addDocument(state, creation, added);
      return answer(await aggregates.execute({ call, id, creation: { roomId: "", repeatable }, decide }), id);
    },
    async get({ workspaceId }, { documentId }) {
      const { state } = await aggregates.load(workspaceId, documentId);
      if (state.status !== "present") throw documentNotFound(documentId);
      return { document: state.document };
    },
    async list({ workspaceId, signal }, { collection, pageSize, pageToken, minPosition }) {
      const page = readPage("documents", [workspaceId, collection], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listDocuments(db, workspaceId, collection, page);
      return { documents: items, nextPageToken };
    },
    async delete(call, { documentId: id }) {
      const decide = (state: DocumentState) => deleteDocument(state, id);
      return answer(await aggregates.execute({ call, id, decide }), id);
    },
    async search({ workspaceId, signal }, { collection, query, limit, minScore, minPosition }) {
      const [vector = new Float32Array()] = await embedder.embed([query], signal);
      await positions.reach(minPosition, signal);
      const scope = { workspaceId, collection: collection || defaultCollection, model: embedder.model };
      const question = { ...scope, vector, limit: limit || defaultLimit, minScore };
      return { citations: await searching.find(question, signal) };
    },
  };
}

function answer({ state, position }: Loaded<DocumentState>, documentId: string): DocumentAt {
  if (state.status === "absent") throw documentNotFound(documentId);
  return { document: withoutText(state.document), position };
}
