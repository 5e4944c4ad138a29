import { constants } from "node:fs";
import { type FileHandle, lstat, open, opendir, rename, rm } from "node:fs/promises";
import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "../define-tool.ts";
import type { Tool, ToolPack, ToolScope } from "../tool.ts";
import { ToolError } from "../tool-error.ts";
import { pathSegments, reservedPrefix } from "./file-path.ts";
import { type Folder, hasCode, openFile, openFolder } from "./folder.ts";
import { measureFolder } from "./folder-size.ts";

/** Where files are kept, and how many. */
export interface FilesystemOptions {
  /** The folder that holds a folder per run, made when it is missing. Files are on this machine only. */
  readonly baseDir: string;
  /** The largest file to read or write, default 256 KiB. */
  readonly maxFileBytes?: number | undefined;
  /** The most bytes in a run's folder, default 64 MiB. */
  readonly maxFolderBytes?: number | undefined;
  /** The most files and folders in a run's folder, default 1,000. */
  readonly maxEntries?: number | undefined;
}

type Limits = Required<{ [K in keyof FilesystemOptions]: NonNullable<FilesystemOptions[K]> }>;

const filePath = z.string().min(1).max(1_000).describe("Path inside the run's folder, such as notes/today.md");
const folderPath = z
  .string()
  .max(1_000)
  .default("")
  .describe("Path inside the run's folder; empty for the folder itself");
const encoding = z.enum(["utf8", "base64"]).default("utf8").describe("How content stands for the bytes of the file");

/** `filesystem.read` and `filesystem.list`: what is in the folder of the run, and nothing else. */
export function filesystemReadPack(options: FilesystemOptions): ToolPack {
  const limits = withDefaults(options);
  return { name: "filesystem.read", tools: [readTool(limits), listTool(limits)] };
}

/** `filesystem.write`: replaces a file in the folder of the run at once, with the folders on the way. */
export function filesystemWritePack(options: FilesystemOptions): ToolPack {
  return { name: "filesystem.write", tools: [writeTool(withDefaults(options))] };
}

function readTool(limits: Limits): Tool {
  return defineTool({
    name: "filesystem.read",
    description: `Reads a file from the run's folder, up to ${limits.maxFileBytes} bytes. Answers {path, content, sizeBytes}.`,
    effect: ToolEffect.READ,
    // JSON can write a byte as six.
    maxResultBytes: Math.min(6 * limits.maxFileBytes + 10_000, 4 * 1024 * 1024),
    input: z.object({ path: filePath, encoding }),
    async run({ path, encoding: as }, scope) {
      const { folders, name } = placeOf(path);
      await using folder = await openFolder(limits.baseDir, [runFolder(scope), ...folders], { create: false });
      const handle = folder && (await openFile(folder, name));
      if (handle === undefined) throw notFound(path);
      await using file = handle;
      const bytes = await readWhole(file, limits.maxFileBytes, path);
      if (as === "utf8" && !isUtf8(bytes)) {
        throw new ToolError("FILE_NOT_TEXT", `${path} is not text in UTF-8; ask for it with "encoding": "base64"`);
      }
      return { path, content: bytes.toString(as), sizeBytes: bytes.length };
    },
  });
}

function listTool(limits: Limits): Tool {
  return defineTool({
    name: "filesystem.list",
    description: "Lists a folder of the run: {entries: [{name, type: file, folder or other, sizeBytes}]}, by name.",
    effect: ToolEffect.READ,
    input: z.object({ path: folderPath }),
    async run({ path }, scope) {
      const segments = pathSegments(path, "folder");
      await using folder = await openFolder(limits.baseDir, [runFolder(scope), ...segments], { create: false });
      if (folder === undefined && segments.length > 0) throw notFound(path);
      const entries = folder === undefined ? [] : await entriesOf(folder, limits.maxEntries);
      return { entries: entries.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
    },
  });
}

function writeTool(limits: Limits): Tool {
  return defineTool({
    name: "filesystem.write",
    description: `Writes a file of up to ${limits.maxFileBytes} bytes into the run's folder, in place of one that is there; makes the folders on the way. Answers {path, sizeBytes}.`,
    effect: ToolEffect.WRITE,
    idempotent: true,
    input: z.object({ path: filePath, content: z.string().describe("What the file is to hold"), encoding }),
    target: ({ path }) => path,
    async run({ path, content, encoding: as }, scope) {
      const { folders, name } = placeOf(path);
      const bytes = Buffer.from(content, as);
      if (as === "base64" && bytes.toString("base64") !== content) {
        throw new ToolError("TOOL_ARGUMENTS_INVALID", "arguments.content is not base64 as RFC 4648 writes it");
      }
      if (bytes.length > limits.maxFileBytes) throw tooLarge(path, bytes.length, limits.maxFileBytes);
      await requireRoom(limits, scope, bytes.length);
      await using folder = await openFolder(limits.baseDir, [runFolder(scope), ...folders], { create: true });
      if (folder === undefined) throw notFound(path);
      await replaceFile(folder, name, bytes, scope);
      return { path, sizeBytes: bytes.length };
    },
  });
}

/** Writes beside the file and renames: whoever reads sees the old bytes or the new ones. */
async function replaceFile(folder: Folder, name: string, bytes: Buffer, { toolCallId }: ToolScope): Promise<void> {
  // The same in every attempt, so that a repeat cleans up after a crash.
  const temporary = folder.at(`${reservedPrefix}${toolCallId.replace(/\W/g, "_").slice(0, 100)}`);
  await rm(temporary, { force: true });
  try {
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    await using file = await open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600);
    await folder.confirm();
    await file.writeFile(bytes);
    await file.sync();
    await folder.confirm();
    await rename(temporary, folder.at(name));
  } catch (error) {
    await rm(temporary, { force: true });
    if (!hasCode(error, "EISDIR", "ENOTDIR", "EEXIST")) throw error;
    const message = `${JSON.stringify(name)} is a folder, or is being written by another call`;
    throw new ToolError("PATH_NOT_ALLOWED", message, { cause: error });
  }
}

async function requireRoom(limits: Limits, scope: ToolScope, more: number): Promise<void> {
  const { maxFolderBytes, maxEntries, baseDir } = limits;
  const used = await measureFolder(baseDir, [runFolder(scope)], maxEntries);
  if (used.entries >= maxEntries) throw full(`${maxEntries} files and folders`);
  if (used.sizeBytes + more > maxFolderBytes) throw full(`${maxFolderBytes} bytes`);
}

async function entriesOf(folder: Folder, most: number): Promise<{ name: string; type: string; sizeBytes: number }[]> {
  const entries = [];
  for await (const entry of await opendir(folder.at("."))) {
    if (entries.length >= most) break;
    if (entry.name.startsWith(reservedPrefix)) continue;
    const type = entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other";
    const sizeBytes = type === "file" ? (await lstat(folder.at(entry.name))).size : 0;
    entries.push({ name: entry.name.toWellFormed(), type, sizeBytes });
  }
  await folder.confirm();
  return entries;
}

/** Every byte, though no more than `most`, also of a file that grows meanwhile. */
async function readWhole(file: FileHandle, most: number, path: string): Promise<Buffer> {
  const { size } = await file.stat();
  if (size > most) throw tooLarge(path, size, most);
  const buffer = Buffer.alloc(most + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (length > most) throw tooLarge(path, length, most);
    if (bytesRead === 0) return buffer.subarray(0, length);
  }
}

function placeOf(path: string): { folders: string[]; name: string } {
  const segments = pathSegments(path, "file");
  return { folders: segments.slice(0, -1), name: segments.at(-1) ?? "" };
}

/** The name of the run's folder; an id that is no name of a file would be a way out. */
function runFolder({ runId }: ToolScope): string {
  if (/^\w{1,100}$/.test(runId)) return runId;
  throw new ToolError("PATH_NOT_ALLOWED", `the run id ${JSON.stringify(runId)} can not name a folder`);
}

function withDefaults({ baseDir, maxFileBytes, maxFolderBytes, maxEntries }: FilesystemOptions): Limits {
  return {
    baseDir,
    maxFileBytes: maxFileBytes ?? 256 * 1024,
    maxFolderBytes: maxFolderBytes ?? 64 * 1024 * 1024,
    maxEntries: maxEntries ?? 1_000,
  };
}

function notFound(path: string): ToolError {
  return new ToolError("FILE_NOT_FOUND", `there is no ${JSON.stringify(path)}; filesystem.list shows what there is`);
}

function tooLarge(path: string, size: number, most: number): ToolError {
  return new ToolError(
    "FILE_TOO_LARGE",
    `${JSON.stringify(path)} has ${size} bytes, more than the ${most} of one call`,
  );
}

function full(limit: string): ToolError {
  return new ToolError(
    "FOLDER_FULL",
    `the run's folder holds all it may: ${limit}; replace files instead of adding some`,
  );
}
