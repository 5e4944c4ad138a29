import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { until } from "../support/until.ts";
import { createSink } from "./sink.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** How a command ended and what it said. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `signalbox <args>` inside this process. `env` is all that it sees. */
export async function signalbox(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const stdout = createSink();
  const stderr = createSink();
  const { signal } = new AbortController();
  const code = await runCommandLine(args, { env, stdout, stderr, signal });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** A command that stays, inside this process. */
export interface Staying extends AsyncDisposable {
  /** Resolves with stdout once it contains the text. */
  says(text: string): Promise<string>;
  /** How it ended. */
  readonly outcome: Promise<Outcome>;
}

/** Starts `signalbox <args>` inside this process; disposing interrupts it. `env` is all that it sees. */
export function followSignalbox(args: readonly string[], env: Record<string, string>): Staying {
  const stdout = createSink();
  const stderr = createSink();
  const interrupt = new AbortController();
  const running = runCommandLine(args, { env, stdout, stderr, signal: interrupt.signal });
  return {
    outcome: running.then((code) => ({ code, stdout: stdout.text(), stderr: stderr.text() })),
    async says(text) {
      await until(() => stdout.text().includes(text), { what: `signalbox ${args.join(" ")} to say ${text}` });
      return stdout.text();
    },
    async [Symbol.asyncDispose]() {
      interrupt.abort();
      await running;
    },
  };
}

/** Runs `signalbox <args>` as people do, in a process of its own, with `input` on stdin. */
export function spawnSignalbox(args: readonly string[], env: Record<string, string>, input = ""): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const child = execFile(process.execPath, [main, ...args], { env: clean(env) }, (_error, stdout, stderr) => {
    resolve({ code: child.exitCode, stdout, stderr });
  });
  child.stdin?.end(input);
  return promise;
}

/** A command that stays. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** What it has said on stdout so far. */
  stdout(): string;
  /** Resolves with stdout once it contains the text. Rejects when the command ends before that. */
  says(text: string): Promise<string>;
  /** Sends a signal and resolves with how it ended. */
  stop(signal: NodeJS.Signals): Promise<Outcome>;
}

/** Starts `signalbox <args>`; disposing kills it when it still runs. */
export function startSignalbox(args: readonly string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [main, ...args], { env: clean(env), stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const closed = once(child, "close");
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    async says(text) {
      await until(() => stdout.includes(text) || child.exitCode !== null, {
        what: `signalbox ${args.join(" ")} to say ${text}`,
      });
      if (!stdout.includes(text)) throw new Error(`ended with ${child.exitCode} before it said ${text}: ${stderr}`);
      return stdout;
    },
    async stop(signal) {
      child.kill(signal);
      await closed;
      return { code: child.exitCode, stdout, stderr };
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await closed;
    },
  };
}

/** The environment of the test run without what would change the command. */
function clean(env: Record<string, string>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^SIGNALBOX_|^NATS_URL$|^DATABASE_URL$|^OPENAI_|_API_KEY$/.test(name),
  );
  return { ...Object.fromEntries(kept), ...env };
}
