import { randomBytes } from "node:crypto";
import { type Role, serve } from "../../src/cli/serve.ts";
import { answerQuestions } from "../support/answer.ts";
import { createLogger } from "../support/logger.ts";
import { measureMemory } from "../support/memory.ts";

const resources = new AsyncDisposableStack();

/** Where to serve, and what. */
export interface ServerOptions {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  readonly roles: readonly Role[];
}

const functions = {
  /** Serves on a free port of 127.0.0.1 until the process ends. Returns the URL. */
  async open({ natsUrl, databaseUrl, roles }: ServerOptions): Promise<string> {
    const serving = resources.use(
      await serve({
        natsUrl,
        databaseUrl,
        roles: new Set(roles),
        replicas: 1,
        // Longer than any turn: what holds a lease by hand sends no heartbeats.
        leaseTtlMs: 120_000,
        host: "127.0.0.1",
        port: 0,
        auth: { mode: "none" },
        allowedOrigins: [],
        reflection: false,
        secret: randomBytes(32),
        limits: { maxInputBytes: 1024 ** 2, maxOutputBytes: 1024 ** 2 },
        drainTimeoutMs: 1_000,
        log: createLogger(),
      }),
    );
    return serving.url ?? "";
  },
  measureMemory,
};

/** Signalbox in a process of its own. */
export type ServerProcess = typeof functions;

answerQuestions(functions, resources);
