import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Role } from "../../../src/cli/serve.ts";
import { openTestBackend, type TestBackend } from "../../support/backend.ts";
import { decodeLog, type LogEvent } from "../../support/invariants.ts";
import type { Failpoint } from "./failing-store.ts";
import type { ServerSettings } from "./people-server.ts";
import { readStoredLog } from "./stored-log.ts";

/** A process of a test. Disposing it kills it. */
export interface OwnProcess extends AsyncDisposable {
  /** Resolves when it is gone, with the signal that ended it. */
  readonly exited: Promise<NodeJS.Signals | null>;
}

/** A server in a process of its own. */
export interface OwnServer extends OwnProcess {
  /** Empty without the role `server`. */
  readonly url: string;
}

/** Stores of a test's own with servers that are processes. Disposing it kills them and removes what they stored. */
export interface PeopleInstallation extends AsyncDisposable {
  readonly backend: TestBackend;
  /** A folder for what the test's processes write. */
  readonly folder: string;
  /** Starts a server, one that dies somewhere if it is to, and returns once it serves. It plays every role by default. */
  serve(options?: { readonly roles?: readonly Role[]; readonly failpoint?: Failpoint }): Promise<OwnServer>;
  /** Runs a TypeScript file. */
  run(script: URL, env: Readonly<Record<string, string>>): OwnProcess;
  /** Everything in the log. */
  log(): Promise<LogEvent[]>;
}

const allRoles: readonly Role[] = ["server", "projector", "reactors"];

/** Opens the stores; nothing serves yet. */
export async function openPeopleInstallation(leaseTtlMs: number): Promise<PeopleInstallation> {
  await using opening = new AsyncDisposableStack();
  const backend = opening.use(await openTestBackend());
  const { path: folder } = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-people-")));
  const processes = opening.use(new AsyncDisposableStack());
  const { natsUrl, databaseUrl, prefix, schema } = backend;
  const settings = { natsUrl, databaseUrl, prefix, schema, leaseTtlMs, secret: randomBytes(32).toString("base64") };
  // The servers of a test are the same code: one compiles it for all.
  const common = { ...process.env, NODE_COMPILE_CACHE: join(folder, "compiled") };

  function start(script: URL, env: Readonly<Record<string, string>>): ChildProcess & OwnProcess {
    const child = spawn(process.execPath, [fileURLToPath(script)], {
      env: { ...common, ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const exited = once(child, "exit").then(([, signal]) => signal as NodeJS.Signals | null);
    const dispose = async () => {
      child.kill("SIGKILL");
      await exited;
    };
    return processes.use(Object.assign(child, { exited, [Symbol.asyncDispose]: dispose }));
  }

  const open = opening.move();
  return {
    backend,
    folder,
    run: start,
    async serve({ roles = allRoles, failpoint } = {}) {
      const own: ServerSettings = { ...settings, roles };
      const fails: Record<string, string> = failpoint === undefined ? {} : { FAILPOINT: JSON.stringify(failpoint) };
      const child = start(new URL("people-server.ts", import.meta.url), {
        SERVER_SETTINGS: JSON.stringify(own),
        ...fails,
      });
      if (child.stdout === null) throw new Error("a server without stdout");
      const told = once(createInterface(child.stdout), "line") as Promise<[string]>;
      const gone = child.exited.then((signal) => Promise.reject(new Error(`the server ended at its start: ${signal}`)));
      // When it ends later, that is nobody's failure.
      gone.catch(() => undefined);
      const [url] = await Promise.race([told, gone]);
      return {
        url: url === "none" ? "" : url,
        exited: child.exited,
        [Symbol.asyncDispose]: child[Symbol.asyncDispose],
      };
    },
    log: async () => decodeLog(await readStoredLog(backend.nats, backend.stream)),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
