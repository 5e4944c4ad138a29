import { ConnectError } from "@connectrpc/connect";
import { z } from "zod";
import type { Citation } from "../../../gen/signalbox/v1/document_pb.ts";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { isTransient, reasonOf } from "../../client/reason.ts";
import { defineTool } from "../define-tool.ts";
import type { Tool, ToolPack } from "../tool.ts";
import { ToolError } from "../tool-error.ts";

const collection = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/)
  .default("default")
  .describe("The set of documents; default: default");

/** `vector.search`: pieces of the workspace's documents by meaning, as citations. */
export function vectorSearchPack(): ToolPack {
  return { name: "vector.search", tools: [searchTool()] };
}

/** `vector.add`: adds a document to those that are searched. */
export function vectorAddPack(): ToolPack {
  return { name: "vector.add", tools: [addTool()] };
}

function searchTool(): Tool {
  return defineTool({
    name: "vector.search",
    description:
      "Finds pieces of documents that are near in meaning to a question. Answers {citations: [{document_id, title, start, end, text, score, metadata}]}, best first; cite documents by document_id.",
    effect: ToolEffect.READ,
    maxResultBytes: 1024 * 1024,
    input: z.object({
      query: z.string().min(1).max(10_000).describe("The question, in plain words"),
      collection,
      limit: z.int().min(1).max(50).default(5).describe("The most pieces to answer"),
      minScore: z.number().min(0).max(1).default(0).describe("Leaves out pieces that are further away"),
    }),
    async run(question, { client, signal }) {
      const { citations } = await answered(client.documents.searchDocuments(question, { signal }));
      return { citations: citations.map(citationOf) };
    },
  });
}

function addTool(): Tool {
  return defineTool({
    name: "vector.add",
    description: "Adds a text to the documents that vector.search looks through. Answers {document_id, chunks}.",
    effect: ToolEffect.WRITE,
    idempotent: true,
    // DeleteDocument takes it out again.
    reversible: true,
    input: z.object({
      text: z.string().min(1).max(1_000_000).describe("The whole text"),
      title: z.string().max(500).default("").describe("What people call it"),
      collection,
      metadata: z
        .record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$/), z.string().max(256))
        .default({})
        .describe("Up to 32 keys and values of your own"),
    }),
    target: (document) => document.collection,
    async run(document, { client, signal, toolCallId }) {
      // The same in every attempt, so that a repeat adds nothing.
      const request = { ...document, requestId: toolCallId };
      const { document: added } = await answered(client.documents.addDocument(request, { signal }));
      return { document_id: added?.documentId ?? "", chunks: added?.chunkCount ?? 0 };
    },
  });
}

/** A citation in the words that tools speak. */
function citationOf({ documentId, title, start, end, text, score, metadata }: Citation) {
  return { document_id: documentId, title, start, end, text, score, metadata: { ...metadata } };
}

/** The answer of the server, its refusals as failures of the tool. */
async function answered<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const code = reasonOf(error) ?? "SERVER_UNAVAILABLE";
    throw new ToolError(code, error.rawMessage, { retryable: isTransient(error), cause: error });
  }
}
