import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { buffer } from "node:stream/consumers";
import { toJson } from "@bufbuild/protobuf";
import { type Citation, CitationSchema, type Document, DocumentSchema } from "../../../gen/signalbox/v1/document_pb.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { AddDocumentsOptions, ListDocumentsOptions, SearchDocumentsOptions } from "../commands/documents.ts";
import { citationsText, documentTable, documentView } from "../views/document-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox documents add`: one after the other, so that what was added is known when one is refused. */
export async function addDocuments(
  cli: Cli,
  files: readonly string[],
  options: AddDocumentsOptions,
): Promise<ExitCode> {
  const { output, signal } = cli;
  requireOneFor(files, options);
  const { title, collection = "", metadata = {}, requestId = "" } = options;
  using client = openClient(cli);
  for (const [index, file] of files.entries()) {
    output.progress(`${index + 1} of ${files.length}: ${file}`);
    try {
      const text = await textOf(file);
      const request = { title: title ?? titleOf(file), text, collection, metadata, requestId };
      const { document } = await client.documents.addDocument(request, { signal });
      output.progress("");
      if (document === undefined) throw new Error("the server answered without a document");
      output.show(toJson(DocumentSchema, document), `${document.documentId}  ${document.title}`);
    } catch (error) {
      if (files.length > 1) output.note(`${index} of ${files.length} were added; ${file} was not`);
      throw error;
    }
  }
  return exitCodes.ok;
}

/** `signalbox documents ls`. */
export async function listDocuments(cli: Cli, { collection = "", limit }: ListDocumentsOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const documents: Document[] = await pages(limit, async (page) => {
    const response = await client.documents.listDocuments({ collection, ...page }, { signal: cli.signal });
    return { items: response.documents, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, documents, (document) => toJson(DocumentSchema, document), documentTable);
  return exitCodes.ok;
}

/** `signalbox documents get`. */
export async function getDocument(cli: Cli, documentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.documents.getDocument({ documentId }, { signal: cli.signal })).document);
}

/** `signalbox documents delete`. */
export async function deleteDocument(cli: Cli, documentId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.documents.deleteDocument({ documentId }, { signal: cli.signal })).document);
}

/** `signalbox documents search`. */
export async function searchDocuments(cli: Cli, query: string, options: SearchDocumentsOptions): Promise<ExitCode> {
  const { collection = "", limit, minScore = 0 } = options;
  using client = openClient(cli);
  const request = { query, collection, limit, minScore };
  const citations: Citation[] = (await client.documents.searchDocuments(request, { signal: cli.signal })).citations;
  showList(cli.output, citations, (citation) => toJson(CitationSchema, citation), citationsText);
  return exitCodes.ok;
}

function requireOneFor(files: readonly string[], { title, requestId }: AddDocumentsOptions): void {
  if (files.length === 1 || (title === undefined && requestId === undefined)) return;
  const option = title === undefined ? "--request-id" : "--title";
  throw usageError(`${option} is for one text, but ${files.length} files were given`, "Add that file by itself.");
}

/** The text of a file of UTF-8, or of stdin. */
async function textOf(file: string): Promise<string> {
  const bytes = await (file === "-" ? buffer(process.stdin) : read(file));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw usageError(`${file} is no text in UTF-8`, "Make a text of it first, for example with pandoc or pdftotext.");
  }
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`${file} can not be read: ${cause}`, "Give paths of readable files, or - for stdin.");
  }
}

function titleOf(file: string): string {
  return file === "-" ? "" : basename(file);
}

function show({ output }: Cli, document: Document | undefined): ExitCode {
  if (document === undefined) throw new Error("the server answered without a document");
  output.show(toJson(DocumentSchema, document), documentView(document));
  return exitCodes.ok;
}
