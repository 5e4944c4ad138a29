import { create } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type DocumentAdded, DocumentDeletedSchema } from "../../gen/signalbox/v1/document_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { DocumentState } from "./state.ts";

/** What names a creating request. */
export interface Creation {
  readonly documentId: string;
  readonly requestId: string;
  /** SHA-256 of the request; empty without request_id. */
  readonly requestDigest: Uint8Array;
}

/** document.added; nothing when the same request added it before. REQUEST_ID_REUSED when another one did. */
export function addDocument(state: DocumentState, creation: Creation, added: DocumentAdded): Draft | undefined {
  if (isRepeat(state, creation)) return undefined;
  return { payload: { case: "documentAdded", value: added }, zone: Zone.SANDBOX };
}

/** True when the same request has added the document before. REQUEST_ID_REUSED when another one has. */
export function isRepeat(state: DocumentState, { documentId, requestId, requestDigest }: Creation): boolean {
  if (state.status === "absent") return false;
  if (equalBytes(state.requestDigest, requestDigest)) return true;
  throw new SignalboxError(
    "REQUEST_ID_REUSED",
    `request_id ${JSON.stringify(requestId)} has added ${documentId} with another body; use a new request_id`,
    { document_id: documentId },
  );
}

/** document.deleted; nothing when it is deleted already. DOCUMENT_NOT_FOUND. */
export function deleteDocument(state: DocumentState, documentId: string): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw documentNotFound(documentId);
    case "deleted":
      return undefined;
    case "present":
      return {
        payload: { case: "documentDeleted", value: create(DocumentDeletedSchema) },
        zone: Zone.SANDBOX,
      };
  }
}

/** Unknown ids, ids of another tenant and deleted documents look the same. */
export function documentNotFound(documentId: string): SignalboxError {
  return new SignalboxError("DOCUMENT_NOT_FOUND", `document ${documentId} does not exist in this workspace`);
}
