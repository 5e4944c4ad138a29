import { randomBytes } from "node:crypto";
import { type Role, serve } from "../../src/cli/serve.ts";
import { artifactOptions } from "../../test/support/artifact-options.ts";
import { answerQuestions } from "../support/answer.ts";
import { createLogger } from "../support/logger.ts";
import { measureMemory, type MemoryWatch, watchMemory } from "../support/memory.ts";

const resources = new AsyncDisposableStack();
let watch: MemoryWatch | undefined;

/** Where to serve, and what. */
export interface ServerOptions {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** Artifacts are kept here, as `signalbox up` keeps them. */
  readonly artifactDir: string;
  readonly roles: readonly Role[];
}

const functions = {
  /** Serves on a free port of 127.0.0.1 until the process ends. Returns the URL. */
  async open({ natsUrl, databaseUrl, artifactDir, roles }: ServerOptions): Promise<string> {
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
        // Every process of a bench has the same root key.
        artifacts: { ...artifactOptions(new Uint8Array(32)), blobs: { kind: "filesystem", dir: artifactDir } },
        drainTimeoutMs: 1_000,
        log: createLogger(),
      }),
    );
    return serving.url ?? "";
  },
  measureMemory,
  /** Has an eye on the memory until `peakMemory`. */
  watchMemory(): void {
    watch = watchMemory();
  },
  /** The most that was resident since `watchMemory`, in bytes. */
  peakMemory: (): number => watch?.stop() ?? Number.NaN,
};

/** Signalbox in a process of its own. */
export type ServerProcess = typeof functions;

answerQuestions(functions, resources);
