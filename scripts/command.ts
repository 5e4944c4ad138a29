import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

/** The repository's root folder: npm runs scripts there, and so does everything in scripts/. */
export const root = join(import.meta.dirname, "..");

/** How a command ended: `code` 0 is success; `output` is stdout and stderr as they came. */
export interface CommandResult {
  code: number;
  output: string;
}

/**
 * Runs a program to its end and collects what it prints. Programs of node_modules/.bin come first, the Node among them.
 * `cwd` defaults to the repository's root. A program that cannot be started is a result with code 127, one ended by a
 * signal has code 1; both say so in `output`.
 */
export async function runCommand(program: string, args: string[], cwd: string = root): Promise<CommandResult> {
  const path = [join(root, "node_modules", ".bin"), process.env["PATH"]].join(delimiter);
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, PATH: path } });
  let output = "";
  const collect = (chunk: string): void => {
    output += chunk;
  };
  child.stdout.setEncoding("utf8").on("data", collect);
  child.stderr.setEncoding("utf8").on("data", collect);
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  child.on("error", (error) => resolve({ code: 127, output: `${output}cannot run ${program}: ${error.message}\n` }));
  child.on("close", (code, signal) =>
    resolve(code === null ? { code: 1, output: `${output}${program} was ended by ${signal}\n` } : { code, output }),
  );
  return promise;
}
