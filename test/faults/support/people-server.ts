// A server that tells its address on stdout, and dies when FAILPOINT says so. Serves until it is killed or its stdin ends.
import { flushCompileCache, registerHooks } from "node:module";
import { pino } from "pino";
import type { Role, ServeOptions } from "../../../src/cli/serve.ts";
import { artifactOptions } from "../../support/artifact-options.ts";

/** What a test tells the server, as JSON in SERVER_SETTINGS. */
export interface ServerSettings extends Pick<
  ServeOptions,
  "natsUrl" | "databaseUrl" | "prefix" | "schema" | "leaseTtlMs"
> {
  readonly roles: readonly Role[];
  /** Base64. */
  readonly secret: string;
}

registerHooks({
  resolve(specifier, context, next) {
    const isStore = specifier.endsWith("/jetstream-store.ts") && context.parentURL?.endsWith("/src/cli/stores.ts");
    return isStore ? next("./failing-store.ts", { ...context, parentURL: import.meta.url }) : next(specifier, context);
  },
});
// Only what is imported from now on goes through the hook.
const { serve } = await import("../../../src/cli/serve.ts");
const { roles, secret, ...settings } = JSON.parse(process.env["SERVER_SETTINGS"] ?? "{}") as ServerSettings;
const serving = await serve({
  ...settings,
  roles: new Set(roles),
  secret: Buffer.from(secret, "base64"),
  replicas: 1,
  log: pino({ level: process.env["TEST_LOG"] ?? "silent" }),
  host: "127.0.0.1",
  port: 0,
  auth: { mode: "none" },
  allowedOrigins: [],
  reflection: false,
  limits: { maxInputBytes: 1024 * 1024, maxOutputBytes: 1024 * 1024 },
  artifacts: artifactOptions(Buffer.from(secret, "base64")),
  drainTimeoutMs: 1_000,
});
// Who is killed writes no cache at its end.
flushCompileCache();
process.stdout.write(`${serving.url ?? "none"}\n`);
process.stdin.resume().once("end", () => process.kill(process.pid, "SIGKILL"));
