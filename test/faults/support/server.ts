// A process that plays all roles, as `signalbox serve` does.
import { pino } from "pino";
import { readSettings } from "../../../src/cli/settings.ts";
import { serve } from "../../../src/cli/serve.ts";

const settings = readSettings(process.env);
await serve({
  natsUrl: settings.natsUrl ?? "",
  databaseUrl: settings.databaseUrl ?? "",
  replicas: 1,
  log: pino({ level: "info" }),
  roles: new Set(["server", "projector", "reactors"]),
  host: settings.host,
  port: settings.port,
  auth: settings.auth,
  allowedOrigins: [],
  reflection: false,
  secret: settings.secret ?? new Uint8Array(32),
  limits: { maxInputBytes: settings.maxInputBytes, maxOutputBytes: settings.maxOutputBytes },
  leaseTtlMs: settings.leaseTtlMs,
  drainTimeoutMs: settings.drainTimeoutMs,
});
