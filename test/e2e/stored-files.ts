import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtempDisposable, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { artifactOptions } from "../support/artifact-options.ts";
import { type Installation, type InstallationOptions, openInstallation } from "../support/installation.ts";

/** An installation that keeps artifacts in a folder, and a hand in that folder. */
export interface FileInstallation extends Installation {
  /** For files of the test. */
  readonly folder: string;
  /** The files of the store that belong to an artifact. */
  blobsOf(workspaceId: string, artifactId: string): Promise<string[]>;
  /** How many of them this process has open. */
  openBlobs(workspaceId: string, artifactId: string): Promise<number>;
  /** Flips a bit in the middle of the artifact's only file, or puts it back: twice is as if nothing had been. */
  flipBit(workspaceId: string, artifactId: string): Promise<void>;
  /** Removes what the store has of an artifact. */
  loseBlobs(workspaceId: string, artifactId: string): Promise<void>;
}

/** Opens an installation that keeps artifacts in a new folder. Disposing removes it. */
export async function openFileInstallation(
  options: InstallationOptions = {},
  limits: Partial<ReturnType<typeof artifactOptions>["limits"]> = {},
): Promise<FileInstallation> {
  await using opening = new AsyncDisposableStack();
  const { path: folder } = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-artifacts-")));
  const dir = join(folder, "blobs");
  const given = options.artifacts ?? artifactOptions(randomBytes(32));
  const artifacts = { ...given, blobs: { kind: "filesystem", dir }, limits: { ...given.limits, ...limits } } as const;
  const installation = opening.use(await openInstallation({ ...options, artifacts }));
  const blobsOf = async (workspaceId: string, artifactId: string) => {
    const root = join(dir, workspaceId, artifactId);
    return existsSync(root) ? (await readdir(root)).map((name) => join(root, name)) : [];
  };
  const open = opening.move();
  return {
    ...installation,
    folder,
    blobsOf,
    async openBlobs(workspaceId, artifactId) {
      const root = join(dir, workspaceId, artifactId);
      const files = (await readdir("/proc/self/fd")).map((fd) => readlink(join("/proc/self/fd", fd)).catch(() => ""));
      return (await Promise.all(files)).filter((file) => file.startsWith(root)).length;
    },
    async flipBit(workspaceId, artifactId) {
      const [file = ""] = await blobsOf(workspaceId, artifactId);
      const bytes = await readFile(file);
      const at = bytes.length >> 1;
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      await writeFile(file, bytes);
    },
    async loseBlobs(workspaceId, artifactId) {
      await Promise.all((await blobsOf(workspaceId, artifactId)).map((file) => rm(file)));
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
