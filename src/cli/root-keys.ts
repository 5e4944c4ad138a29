import { mkdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createRootKeyCommand } from "../keys/root-key-command.ts";
import { createRootKey, type RootKey, type RootKeys } from "../keys/root-key.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { createKeyFile, readKeyFile } from "./key-file.ts";
import type { Settings } from "./settings.ts";

/** What says where the root key is. */
export type RootKeySettings = Pick<Settings, "dataDir" | "rootKey" | "rootKeyFile" | "rootKeyCommand" | "rootKeyOld">;

/** How root keys are opened. */
export interface RootKeyOptions {
  /** What a command sees. */
  readonly env: NodeJS.ProcessEnv;
  /** False where there are keys already that some root key wraps: a new one could open none of them. */
  readonly mayCreate: boolean;
}

/**
 * The root keys that the settings name. Without any it is `root.key` in the data folder, created there once with mode 0600. Throws a
 * CliError for a file that is not there, holds no key, or that others may read.
 */
export async function openRootKeys(settings: RootKeySettings, options: RootKeyOptions): Promise<RootKeys> {
  const { rootKeyOld } = settings;
  const { env } = options;
  return {
    current: await currentRootKey(settings, options),
    old: rootKeyOld === undefined ? [] : [await oldRootKey(rootKeyOld, env)],
  };
}

async function currentRootKey(
  { dataDir, rootKey, rootKeyFile, rootKeyCommand }: RootKeySettings,
  { env, mayCreate }: RootKeyOptions,
): Promise<RootKey> {
  if (rootKey !== undefined) return createRootKey(rootKey);
  if (rootKeyCommand !== undefined) return createRootKeyCommand({ command: rootKeyCommand, env });
  // A file that somebody names is theirs: one that is missing is a volume that is not mounted, and no reason for a new key.
  if (rootKeyFile !== undefined) return rootKeyIn(resolve(rootKeyFile));
  const folder = resolve(dataDir);
  const path = join(folder, "root.key");
  if (!mayCreate) return rootKeyIn(path);
  return rootKeyIn(path, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await createKeyFile(path);
  });
}

async function oldRootKey(text: string, env: NodeJS.ProcessEnv): Promise<RootKey> {
  if (text.startsWith("file:")) return rootKeyIn(resolve(text.slice("file:".length)));
  if (text.startsWith("command:")) return createRootKeyCommand({ command: text.slice("command:".length), env });
  return createRootKey(Buffer.from(text, "base64"));
}

async function rootKeyIn(path: string, prepare?: () => Promise<void>): Promise<RootKey> {
  try {
    await prepare?.();
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0 && process.platform !== "win32") {
      throw new Error(`others may read it (mode ${(mode & 0o777).toString(8)}); run chmod 600 ${path}`);
    }
    return createRootKey(await readKeyFile(path));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    const hint =
      "Every artifact is sealed under this key: restore it from a backup, or give this process the root key of the others " +
      "(SIGNALBOX_ROOT_KEY, _FILE or _COMMAND). Only an installation without keys gets a new one.";
    throw new CliError(`the root key in ${path} can not be used: ${cause}`, hint, exitCodes.failed, { cause: error });
  }
}
