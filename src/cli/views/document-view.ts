import type { Citation, Document } from "../../../gen/signalbox/v1/document_pb.ts";
import { fields, table } from "./table.ts";
import { labelsText, principalText, shorten, timeText } from "./values.ts";

/** Documents below each other, one line each. */
export function documentTable(documents: readonly Document[]): string {
  return table(
    ["DOCUMENT", "COLLECTION", "TITLE", "BYTES", "PIECES", "ADDED"],
    documents.map((document) => [
      document.documentId,
      document.collection,
      shorten(document.title, 60),
      String(document.sizeBytes),
      String(document.chunkCount),
      timeText(document.createTime),
    ]),
  );
}

/** Everything that people want to know about a document; its text, where it is there, below an empty line. */
export function documentView(document: Document): string {
  const head = fields([
    ["document", document.documentId],
    ["collection", document.collection],
    ["title", shorten(document.title, 500)],
    ["metadata", labelsText(document.metadata)],
    ["bytes", String(document.sizeBytes)],
    ["pieces", `${document.chunkCount}, compared by ${document.embeddingModel}`],
    ["added", `${timeText(document.createTime)} by ${principalText(document.createBy)}`],
    ["position", String(document.position)],
  ]);
  return document.text === "" ? head : `${head}\n\n${document.text.trimEnd()}`;
}

/** What a search found: score, title, document and span of each piece, its text below. */
export function citationsText(citations: readonly Citation[]): string {
  if (citations.length === 0) return "nothing was found";
  return citations
    .map(({ score, title, documentId, start, end, text }) => {
      const where = `${score.toFixed(2)}  ${shorten(title, 80)}  ${documentId} ${start}–${end}`;
      return `${where}\n      ${shorten(text.trim(), 500)}`;
    })
    .join("\n\n");
}
