import type { ConnectRouter } from "@connectrpc/connect";
import { DocumentService } from "../../gen/signalbox/v1/document_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { Documents } from "./documents.ts";

/** Serves DocumentService. */
export function documentRoutes(router: ConnectRouter, documents: Documents): void {
  router.service(DocumentService, {
    addDocument: (request, context) => documents.add(callOf(context), request),
    getDocument: (request, context) => documents.get(callOf(context), request),
    listDocuments: (request, context) => documents.list(callOf(context), request),
    deleteDocument: (request, context) => documents.delete(callOf(context), request),
    searchDocuments: (request, context) => documents.search(callOf(context), request),
  });
}
