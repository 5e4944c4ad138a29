import { setImmediate as nextTurn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { type Citation, CitationSchema } from "../../gen/signalbox/v1/document_pb.ts";
import type { DocumentAdded } from "../../gen/signalbox/v1/document_event_pb.ts";
import { createStateCache } from "../eventlog/state-cache.ts";
import type { Db } from "../readmodel/postgres.ts";
import { listSearchable, loadChunks, type SearchableDocument, type SearchScope } from "./queries.ts";
import { createRanking } from "./ranking.ts";
import { cosineAt, readVector } from "./vectors.ts";

/** Texts and vectors that are read at once; a single larger document is read all the same. */
const batchBytes = 8 * 1024 * 1024;
const batchDocuments = 500;
/** Pieces compared before others get a turn: 4,096 of 384 dimensions take some 3 ms. */
const piecesPerTurn = 4_096;

/** A question to a scope. */
export interface Question extends SearchScope {
  /** Of length 1. */
  readonly vector: Float32Array;
  readonly limit: number;
  readonly minScore: number;
}

/** Finds the pieces of documents that are nearest to a question. */
export interface Search {
  /** The nearest pieces, nearest first. */
  find(question: Question, signal: AbortSignal): Promise<Citation[]>;
}

/** What search needs. */
export interface SearchDeps {
  readonly db: Db;
  /** Texts and vectors kept in memory between searches, default 128 MiB. */
  readonly cacheBytes?: number | undefined;
}

/** A document ready to be searched. It never changes, so it can be kept for as long as there is room. */
interface Searchable {
  readonly source: DocumentAdded["document"];
  /** Begin and end of each piece, in turns. */
  readonly spans: Uint32Array;
  /** One vector after the other. */
  readonly vectors: Float32Array;
  readonly dimensions: number;
  readonly sizeBytes: number;
}

/**
 * Search that compares a question with every piece of its scope. The read model is asked each time which documents there
 * are, so what is deleted is not found; their contents come from memory where they are in it. However large a collection is,
 * no more than the cache and one batch is held.
 */
export function createSearch({ db, cacheBytes = 128 * 1024 * 1024 }: SearchDeps): Search {
  const cache = createStateCache<Searchable>(cacheBytes);

  /** The documents in memory first: loading the others may push them out. */
  async function* contents(workspaceId: string, listed: readonly SearchableDocument[]): AsyncGenerator<Searchable> {
    const missing: SearchableDocument[] = [];
    for (const entry of listed) {
      const known = cache.get(`${workspaceId}/${entry.documentId}`);
      if (known === undefined) missing.push(entry);
      else yield known;
    }
    for (const batch of batches(missing)) {
      const loaded = await loadChunks(db, workspaceId, batch);
      for (const [documentId, added] of loaded) {
        const searchable = toSearchable(added);
        cache.set(`${workspaceId}/${documentId}`, searchable);
        yield searchable;
      }
    }
  }

  return {
    async find({ vector, limit, minScore, ...scope }, signal) {
      const ranking = createRanking<{ searchable: Searchable; piece: number }>(limit, minScore);
      let compared = 0;
      for await (const searchable of contents(scope.workspaceId, await listSearchable(db, scope))) {
        const { dimensions, vectors } = searchable;
        // A provider may have changed a model under its name.
        if (dimensions !== vector.length) continue;
        for (let piece = 0; piece * dimensions < vectors.length; piece++) {
          ranking.offer(cosineAt(vector, vectors, piece * dimensions), () => ({ searchable, piece }));
          if (++compared % piecesPerTurn === 0) await nextTurn();
        }
        signal.throwIfAborted();
      }
      return ranking.best.map(({ score, item: { searchable, piece } }) => citation(searchable, piece, score));
    },
  };
}

function* batches(documents: readonly SearchableDocument[]): Generator<string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const { documentId, sizeBytes } of documents) {
    if (batch.length > 0 && (batch.length === batchDocuments || bytes + sizeBytes > batchBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(documentId);
    bytes += sizeBytes;
  }
  if (batch.length > 0) yield batch;
}

function toSearchable({ document: source, chunks }: DocumentAdded): Searchable {
  const dimensions = (chunks[0]?.embedding.length ?? 0) / 4;
  const spans = new Uint32Array(chunks.length * 2);
  const vectors = new Float32Array(chunks.length * dimensions);
  for (const [index, { start, end, embedding }] of chunks.entries()) {
    spans.set([start, end], index * 2);
    readVector(embedding, vectors, index * dimensions);
  }
  const sizeBytes = (source?.text.length ?? 0) * 2 + spans.byteLength + vectors.byteLength;
  return { source, spans, vectors, dimensions, sizeBytes };
}

function citation({ source, spans }: Searchable, piece: number, score: number): Citation {
  const [start = 0, end = 0] = spans.subarray(piece * 2, piece * 2 + 2);
  const { documentId, title, metadata, text } = source ?? {};
  return create(CitationSchema, {
    documentId: documentId ?? "",
    title: title ?? "",
    metadata: metadata ?? {},
    text: text?.slice(start, end) ?? "",
    start,
    end,
    score,
  });
}
