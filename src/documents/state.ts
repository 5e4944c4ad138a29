import type { Document } from "../../gen/signalbox/v1/document_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";
import { addedDocument, withoutText } from "./resource.ts";

/** A document that was added. */
export interface KnownDocument {
  /** With its text until it is deleted. */
  readonly document: Document;
  /** SHA-256 of the creating request; empty when it had no request_id. */
  readonly requestDigest: Uint8Array;
}

/** What decisions about a document rest on. */
export type DocumentState =
  | { readonly status: "absent" }
  | (KnownDocument & { readonly status: "present" | "deleted" });

/** Documents as aggregates. */
export const documentAggregate: AggregateDefinition<DocumentState> = {
  type: "document",
  initial: { status: "absent" },
  evolve: evolveDocument,
};

/** The state after one more event. Pure. */
function evolveDocument(state: DocumentState, event: Event): DocumentState {
  const found = addedDocument(event);
  if (found !== undefined) {
    return { status: "present", document: found.document, requestDigest: found.added.requestDigest };
  }
  if (event.payload.case !== "documentDeleted" || state.status === "absent") return state;
  const document = { ...withoutText(state.document), position: event.position };
  return { ...state, status: "deleted", document };
}
