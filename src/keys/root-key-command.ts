import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { SignalboxError } from "../kernel/errors.ts";
import { equalBytes, sha256 } from "../kernel/digest.ts";
import type { RootKey } from "./root-key.ts";
import { keyBytes } from "./wrapping.ts";

/** How a command is run. */
export interface RootKeyCommandOptions {
  /** What the shell runs, with `wrap` or `unwrap` as its last word: bytes in base64 on stdin, bytes in base64 on stdout. */
  readonly command: string;
  /** What it sees. */
  readonly env: NodeJS.ProcessEnv;
  /** How long it may take, in milliseconds; default 30,000. */
  readonly timeoutMs?: number;
}

/**
 * A root key that a command has, for example the one of a KMS: it never comes here. What is wrapped carries its label, since a command
 * knows none. The command gets 64 bytes to wrap, and may be run at any time, several times at once.
 */
export function createRootKeyCommand({ command, env, timeoutMs = 30_000 }: RootKeyCommandOptions): RootKey {
  const run = (verb: "wrap" | "unwrap", input: Uint8Array) => runCommand(`${command} ${verb}`, env, timeoutMs, input);
  return {
    id: `command-${Buffer.from(sha256(Buffer.from(command))).toString("hex", 0, 4)}`,
    wrap: (key, label) => run("wrap", Buffer.concat([key, labelDigest(label)])),
    unwrap: async (wrapped, label) => {
      const bytes = await run("unwrap", wrapped);
      if (bytes.length === keyBytes + 32 && equalBytes(bytes.subarray(keyBytes), labelDigest(label))) {
        return Uint8Array.from(bytes.subarray(0, keyBytes));
      }
      throw new SignalboxError("ARTIFACT_CORRUPT", "the stored key of a workspace is damaged");
    },
  };
}

function labelDigest(label: string): Uint8Array {
  return sha256(Buffer.from(label));
}

async function runCommand(line: string, env: NodeJS.ProcessEnv, timeoutMs: number, input: Uint8Array): Promise<Buffer> {
  // A group of its own: what the shell has started ends with it.
  const child = spawn(line, { shell: true, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const timer = setTimeout(() => killGroup(child), timeoutMs);
  // A command that does not read its input says so by its exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(`${Buffer.from(input).toString("base64")}\n`);
  const [output, complaint, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>,
  ]).finally(() => clearTimeout(timer));
  if (code !== 0) throw failed(`ended with ${code ?? signal}`, complaint);
  const encoded = output.trim();
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) throw failed("answered with something that is not base64", complaint);
  return Buffer.from(encoded, "base64");
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // It ended by itself just now.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** What the command complained of is for the log, where the cause goes; what it answered is a key, and for nobody. */
function failed(how: string, complaint: string): SignalboxError {
  const message = `the root key command ${how}; repeat with backoff, the server's log says more`;
  return new SignalboxError("STORE_UNAVAILABLE", message, {}, new Error(complaint.trim().slice(0, 500)));
}
