import type { Document } from "../../gen/signalbox/v1/document_pb.ts";
import type { DocumentAdded } from "../../gen/signalbox/v1/document_event_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** What document.added says, its document completed with what the event itself says; undefined for other events. Pure. */
export function addedDocument(event: Event): { added: DocumentAdded; document: Document } | undefined {
  const { payload, workspaceId, createTime, actor, position } = event;
  if (payload.case !== "documentAdded" || payload.value.document === undefined) return undefined;
  const documentId = event.stream?.id ?? "";
  const document = { ...payload.value.document, documentId, workspaceId, createTime, createBy: actor, position };
  return { added: payload.value, document };
}

/** The document as lists and answers show it. Pure. */
export function withoutText(document: Document): Document {
  return { ...document, text: "" };
}
