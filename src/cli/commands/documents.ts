import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { countOption, labelOption, shareOption } from "../option-values.ts";

/** Options of `documents add`. */
export interface AddDocumentsOptions {
  readonly title?: string;
  readonly collection?: string;
  readonly metadata?: Record<string, string>;
  readonly requestId?: string;
}

/** Options of `documents ls`. */
export interface ListDocumentsOptions {
  readonly collection?: string;
  readonly limit: number;
}

/** Options of `documents search`. */
export interface SearchDocumentsOptions {
  readonly collection?: string;
  readonly limit: number;
  readonly minScore?: number;
}

/** Adds `documents`. */
export function addDocuments(program: Command, act: Act): void {
  const documents = program.command("documents").description("keep texts that agents look things up in");
  addAdding(documents, act);
  addReading(documents, act);
  documents
    .command("search <question>")
    .description("show the pieces of documents that are nearest to a question, nearest first")
    .option("--collection <name>", "the documents to search (default: default)")
    .option("--limit <count>", "how many pieces at most, up to 50", countOption, 5)
    .option("--min-score <number>", "leave out pieces that are further away, 0 to 1", shareOption)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox documents search "Who may resume a run?"
  $ signalbox documents search "rate limits" --collection handbook --min-score 0.3 --json`,
    )
    .action((question: string, options: SearchDocumentsOptions) =>
      act(async (cli) => (await import("../actions/documents.ts")).searchDocuments(cli, question, options)),
    );
}

function addAdding(documents: Command, act: Act): void {
  documents
    .command("add <files...>")
    .description("add texts: files of UTF-8, or - for stdin")
    .option("--title <text>", "what people call it, of one text (default: the name of the file)")
    .option("--collection <name>", "the documents that it is searched with (default: default)")
    .option("--metadata <key=value>", "a key and a value of your own; may be given more than once", labelOption)
    .option("--request-id <id>", "makes adding one text repeatable: the same id answers the same document")
    .addHelpText(
      "after",
      `
Several files are added one after the other; the first that can not be added ends it, and those before it stay.

Examples:
  $ signalbox documents add README.md docs/*.md --collection handbook
  $ pandoc guide.html --to plain | signalbox documents add - --title Guide --metadata source=web`,
    )
    .action((files: string[], options: AddDocumentsOptions) =>
      act(async (cli) => (await import("../actions/documents.ts")).addDocuments(cli, files, options)),
    );
}

function addReading(documents: Command, act: Act): void {
  documents
    .command("ls")
    .alias("list")
    .description("list documents, newest first")
    .option("--collection <name>", "only documents of this collection")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox documents ls --collection handbook")
    .action((options: ListDocumentsOptions) =>
      act(async (cli) => (await import("../actions/documents.ts")).listDocuments(cli, options)),
    );
  documents
    .command("get <document-id>")
    .description("show a document with its text")
    .addHelpText(
      "after",
      "\nExamples:\n  $ signalbox documents get doc_01J…\n  $ signalbox documents get doc_01J… --json | jq -r .text",
    )
    .action((documentId: string) =>
      act(async (cli) => (await import("../actions/documents.ts")).getDocument(cli, documentId)),
    );
  documents
    .command("delete <document-id>")
    .description("take a document out of search and lists; its text stays in the log")
    .addHelpText("after", "\nExamples:\n  $ signalbox documents delete doc_01J…")
    .action((documentId: string) =>
      act(async (cli) => (await import("../actions/documents.ts")).deleteDocument(cli, documentId)),
    );
}
