import { fromBinary } from "@bufbuild/protobuf";
import { type Document, DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { type DocumentAdded, DocumentAddedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from documents " +
  "where workspace_id = $1 and collection <> '' and ($2 = '' or collection = $2) and create_position < $3 " +
  "order by create_position desc limit $4";

/** A page of documents of a collection, or of all when it is empty, newest first and without their texts. */
export function listDocuments(db: Db, workspaceId: string, collection: string, page: Page): Promise<Found<Document>> {
  return findResources(db, {
    name: "documents_list",
    text: listText,
    order: "desc",
    values: [workspaceId, collection, page.after ?? newest, page.size + 1],
    schema: DocumentSchema,
    page,
  });
}

/** What can be searched together. */
export interface SearchScope {
  readonly workspaceId: string;
  readonly collection: string;
  /** The model of the vectors. */
  readonly model: string;
}

/** A document that can be searched, without what is searched. */
export interface SearchableDocument {
  readonly documentId: string;
  /** How large its text and vectors are together. */
  readonly sizeBytes: number;
}

const searchableText =
  "select document_id, octet_length(resource) as size_bytes from document_chunks " +
  "where workspace_id = $1 and collection = $2 and collection <> '' and embedding_model = $3 order by create_position";

/** The documents of a scope, oldest first. */
export async function listSearchable(
  db: Db,
  { workspaceId, collection, model }: SearchScope,
): Promise<SearchableDocument[]> {
  const { rows } = await db.query<{ document_id: string; size_bytes: number }>({
    name: "documents_searchable",
    text: searchableText,
    values: [workspaceId, collection, model],
  });
  return rows.map(({ document_id: documentId, size_bytes: sizeBytes }) => ({ documentId, sizeBytes }));
}

const loadText =
  "select document_id, resource from document_chunks " +
  "where workspace_id = $1 and document_id = any($2) and collection <> ''";

/** Texts and vectors by document id; those deleted meanwhile are left out. */
export async function loadChunks(
  db: Db,
  workspaceId: string,
  documentIds: readonly string[],
): Promise<Map<string, DocumentAdded>> {
  const { rows } = await db.query<{ document_id: string; resource: Uint8Array }>({
    name: "documents_load_chunks",
    text: loadText,
    values: [workspaceId, documentIds],
  });
  return new Map(rows.map(({ document_id: id, resource }) => [id, fromBinary(DocumentAddedSchema, resource)]));
}
