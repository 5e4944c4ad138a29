import { create } from "@bufbuild/protobuf";
import { DocumentSchema } from "../../gen/signalbox/v1/document_pb.ts";
import { type DocumentAdded, DocumentAddedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type AnyProjection, eraseProjection, type Projection } from "../readmodel/projection.ts";
import { addedDocument, withoutText } from "./resource.ts";

const idsOf = ({ stream }: Event) => (stream?.type === "document" ? [stream.id] : []);

/** Rows are never taken out of a table: a deleted document is one without a collection. */
const documents: Projection<typeof DocumentSchema> = {
  table: "documents",
  idColumn: "document_id",
  schema: DocumentSchema,
  columns: [{ name: "collection", type: "text", value: ({ collection }) => collection }],
  idsOf,
  evolve(before, event) {
    const found = addedDocument(event);
    if (found !== undefined) return withoutText(found.document);
    return before && event.payload.case === "documentDeleted" ? create(DocumentSchema) : before;
  },
};

const chunks: Projection<typeof DocumentAddedSchema> = {
  table: "document_chunks",
  idColumn: "document_id",
  schema: DocumentAddedSchema,
  columns: [
    { name: "collection", type: "text", value: ({ document }) => document?.collection ?? "" },
    { name: "embedding_model", type: "text", value: ({ document }) => document?.embeddingModel ?? "" },
  ],
  idsOf,
  evolve(before, event): DocumentAdded | undefined {
    const found = addedDocument(event);
    if (found !== undefined) return { ...found.added, document: found.document };
    return before && event.payload.case === "documentDeleted" ? create(DocumentAddedSchema) : before;
  },
};

/** The tables of this noun. */
export const documentProjections: readonly AnyProjection[] = [eraseProjection(documents), eraseProjection(chunks)];
