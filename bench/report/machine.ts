import { execFile } from "node:child_process";
import { mkdtempDisposable } from "node:fs/promises";
import { availableParallelism, cpus, release, tmpdir, totalmem, type } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import packageJson from "../../package.json" with { type: "json" };
import { findNatsServer } from "../../src/stack/nats-binary.ts";
import { findPostgres } from "../../src/stack/postgres-binary.ts";
import { createLogger } from "../support/logger.ts";

/** What figures can not be compared without. */
export interface Machine {
  /** For example `AMD EPYC 7B13`. */
  readonly processor: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  readonly signalbox: string;
  /** The commit, with `+` behind it when the sources differ from it; empty outside a checkout. */
  readonly commit: string;
  readonly node: string;
  readonly nats: string;
  readonly postgres: string;
}

/** This machine, and the versions that the embedded stack runs. */
export async function describeMachine(): Promise<Machine> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-bench-"));
  const nats = await findNatsServer({ env: process.env, binDir: folder.path, log: createLogger() });
  const { postgres } = await findPostgres();
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${release().split("-")[0]}`,
    signalbox: packageJson.version,
    commit: await commit(),
    node: process.versions.node,
    nats: nats.version,
    postgres: (await outputOf(postgres, "--version")).split(" ").at(-1) ?? "",
  };
}

async function commit(): Promise<string> {
  try {
    const head = await outputOf("git", "rev-parse", "--short", "HEAD");
    const changes = await outputOf("git", "status", "--porcelain", "--", "src", "gen", "bench", "package-lock.json");
    return changes === "" ? head : `${head}+`;
  } catch {
    // No checkout, or no git.
    return "";
  }
}

async function outputOf(file: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(file, args, { cwd: import.meta.dirname });
  return stdout.trim();
}
