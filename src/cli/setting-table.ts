import { z } from "zod";
import { artifactSettingTable } from "./artifact-setting-table.ts";
import { blobSettingTable } from "./blob-setting-table.ts";
import { maskUrl } from "./mask.ts";
import { modelSettingTable } from "./model-setting-table.ts";

/** One environment variable. */
export interface Setting<T = unknown> {
  readonly variable: string;
  /** From the text of the variable; optional ones take undefined. */
  readonly schema: z.ZodType<T>;
  /** The text that stands for an unset variable; undefined when unset has a meaning of its own. */
  readonly fallback?: string;
  /** What unset means, where there is no fallback. */
  readonly unset?: string;
  /** What may be given, as a phrase. */
  readonly allowed: string;
  readonly example: string;
  /** What it is for, as a phrase. */
  readonly description: string;
  /** Hides what must not be shown; unset where everything may be. */
  readonly mask?: (value: string) => string;
}

/** The parts of a server that a process can play. */
export const roleNames = ["server", "projector", "reactors", "worker"] as const;
/** What an acknowledged event survives. */
export const durabilities = ["fsync", "relaxed", "replicated"] as const;
/** How much is logged: a level and everything above it. */
export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const mebibyte = 1024 * 1024;
const hidden = () => "********";

/** Every setting that the environment can give, by its name in the program. */
export const settingTable = {
  host: {
    variable: "SIGNALBOX_HOST",
    schema: z.string().regex(/^[A-Za-z0-9.:_-]+$/),
    fallback: "127.0.0.1",
    allowed: "an address or a name of this machine",
    example: "0.0.0.0",
    description: "where the server listens; anything but loopback needs authentication",
  },
  port: {
    variable: "SIGNALBOX_PORT",
    schema: whole(0, 65_535),
    fallback: "8080",
    allowed: "a port from 0 to 65535, 0 for any that is free",
    example: "8081",
    description: "the one port of the server",
  },
  dataDir: {
    variable: "SIGNALBOX_DATA_DIR",
    schema: z.string().min(1),
    fallback: ".signalbox",
    allowed: "a folder that this user may write to",
    example: "/var/lib/signalbox",
    description: "where the embedded stack keeps everything",
  },
  natsUrl: {
    variable: "NATS_URL",
    schema: natsUrls().optional(),
    unset: "embedded",
    allowed: "one or more nats:// or tls:// addresses with commas between",
    example: "nats://127.0.0.1:4222",
    description: "a NATS with JetStream of your own",
    mask: maskUrl,
  },
  databaseUrl: {
    variable: "DATABASE_URL",
    schema: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
    unset: "embedded",
    allowed: "a postgres:// address",
    example: "postgres://signalbox:secret@127.0.0.1:5432/signalbox",
    description: "a Postgres of your own",
    mask: maskUrl,
  },
  authMode: {
    variable: "SIGNALBOX_AUTH",
    schema: z.enum(["none", "static_token"]),
    fallback: "none",
    allowed: "none or static_token",
    example: "static_token",
    description: "how callers are identified",
  },
  token: {
    variable: "SIGNALBOX_TOKEN",
    schema: z
      .string()
      .regex(/^[!-~]{16,}$/)
      .optional(),
    unset: "none",
    allowed: "at least 16 visible characters without spaces",
    example: "$(openssl rand -hex 32)",
    description: "the token that the server asks for and clients send",
    mask: hidden,
  },
  roles: {
    variable: "SIGNALBOX_ROLES",
    schema: list(z.enum(roleNames)).refine((roles) => roles.length > 0),
    fallback: roleNames.join(","),
    allowed: `some of ${roleNames.join(", ")} with commas between`,
    example: "projector,reactors",
    description: "what a process of the server does",
  },
  leaseTtlMs: {
    variable: "SIGNALBOX_LEASE_TTL_MS",
    schema: whole(1_000, 3_600_000),
    fallback: "30000",
    allowed: "milliseconds from 1000 to 3600000",
    example: "60000",
    description: "how long a worker may be silent before its run goes to another",
  },
  durability: {
    variable: "SIGNALBOX_DURABILITY",
    schema: z.enum(durabilities),
    fallback: "fsync",
    allowed: durabilities.join(", "),
    example: "relaxed",
    description: "what an acknowledged event survives; replicated needs a NATS_URL with three nodes",
  },
  secret: {
    variable: "SIGNALBOX_SECRET",
    schema: key32().optional(),
    unset: "created once in the data folder",
    allowed: "32 bytes in base64",
    example: "$(openssl rand -base64 32)",
    description: "seals lease tokens and signs URLs; the same for every process of an installation",
    mask: hidden,
  },
  rootKey: {
    variable: "SIGNALBOX_ROOT_KEY",
    schema: key32().optional(),
    unset: "the one in the file",
    allowed: "32 bytes in base64",
    example: "$(openssl rand -base64 32)",
    description: "wraps the keys of all artifacts; the same for every process of an installation",
    mask: hidden,
  },
  rootKeyFile: {
    variable: "SIGNALBOX_ROOT_KEY_FILE",
    schema: z.string().min(1).optional(),
    unset: "root.key in the data folder, created there once",
    allowed: "a file that only this user may read, with 32 bytes in base64",
    example: "/run/secrets/signalbox-root-key",
    description: "the root key, in place of SIGNALBOX_ROOT_KEY",
  },
  rootKeyCommand: {
    variable: "SIGNALBOX_ROOT_KEY_COMMAND",
    schema: z.string().min(1).optional(),
    unset: "none",
    allowed: "a command that takes wrap or unwrap as its last word, and base64 on stdin and stdout",
    example: "/usr/local/bin/signalbox-kms",
    description: "who has the root key, for example a KMS, in place of SIGNALBOX_ROOT_KEY",
  },
  rootKeyOld: {
    variable: "SIGNALBOX_ROOT_KEY_OLD",
    schema: z
      .string()
      .regex(/^(file:.+|command:.+|[A-Za-z0-9+/]{43}=)$/)
      .optional(),
    unset: "none",
    allowed: "32 bytes in base64, file: and a path, or command: and a command",
    example: "file:/run/secrets/signalbox-root-key-of-last-year",
    description: "the root key before this one, until `signalbox keys rotate --root` is through",
    mask: hidden,
  },
  allowedOrigins: {
    variable: "SIGNALBOX_ALLOWED_ORIGINS",
    schema: list(z.string().refine(isOrigin)),
    fallback: "",
    allowed: "origins (scheme, host and port, no path) with commas between",
    example: "https://console.example",
    description: "web pages that may call the server from a browser",
  },
  publicUrl: {
    variable: "SIGNALBOX_PUBLIC_URL",
    schema: z
      .string()
      .refine(isBaseUrl)
      .transform((text) => text.replace(/\/+$/, ""))
      .optional(),
    unset: "what the request says",
    allowed: "an http:// or https:// address without query",
    example: "https://signalbox.example",
    description: "how others reach the server: what links to artifacts begin with and access challenges name",
  },
  accessesPerMinute: {
    variable: "SIGNALBOX_ACCESSES_PER_MINUTE",
    schema: whole(1, 1_000_000),
    fallback: "600",
    allowed: "a number from 1 to 1000000",
    example: "6000",
    description: "how often one caller may ask for the bytes of artifacts",
  },
  reflection: {
    variable: "SIGNALBOX_REFLECTION",
    schema: z.enum(["on", "off"]).optional(),
    unset: "on without authentication, else off",
    allowed: "on or off",
    example: "on",
    description: "whether the server describes its contract to tools like buf curl",
  },
  logLevel: {
    variable: "SIGNALBOX_LOG_LEVEL",
    schema: z.enum(logLevels),
    fallback: "info",
    allowed: logLevels.join(", "),
    example: "debug",
    description: "how much is logged to stderr",
  },
  maxInputBytes: {
    variable: "SIGNALBOX_MAX_INPUT_BYTES",
    schema: whole(1, 4 * mebibyte),
    fallback: String(mebibyte),
    allowed: "bytes from 1 to 4194304",
    example: "65536",
    description: "the largest input of a run, step or tool call",
  },
  maxOutputBytes: {
    variable: "SIGNALBOX_MAX_OUTPUT_BYTES",
    schema: whole(1, 4 * mebibyte),
    fallback: String(mebibyte),
    allowed: "bytes from 1 to 4194304",
    example: "65536",
    description: "the largest output of a run, step or tool call",
  },
  drainTimeoutMs: {
    variable: "SIGNALBOX_DRAIN_TIMEOUT_MS",
    schema: whole(0, 3_600_000),
    fallback: "10000",
    allowed: "milliseconds from 0 to 3600000",
    example: "30000",
    description: "how long calls in flight may take to end when the server stops",
  },
  embeddingsUrl: {
    variable: "SIGNALBOX_EMBEDDINGS_URL",
    schema: z.url({ protocol: /^https?$/ }).optional(),
    unset: "none: texts are compared by their words, offline",
    allowed: "the http:// or https:// address of an OpenAI-compatible API",
    example: "http://127.0.0.1:11434/v1",
    description: "what turns texts of documents into vectors; a document is found with the model it was added with",
    mask: maskUrl,
  },
  embeddingsModel: {
    variable: "SIGNALBOX_EMBEDDINGS_MODEL",
    schema: z
      .string()
      .regex(/^[!-~]{1,200}$/)
      .optional(),
    unset: "none",
    allowed: "1 to 200 visible characters without spaces",
    example: "nomic-embed-text",
    description: "the model of that API",
  },
  embeddingsApiKey: {
    variable: "SIGNALBOX_EMBEDDINGS_API_KEY",
    schema: z
      .string()
      .regex(/^[!-~]+$/)
      .optional(),
    unset: "none",
    allowed: "visible characters without spaces",
    example: "sk-0123456789abcdef",
    description: "the key for that API",
    mask: hidden,
  },
  toolsFile: {
    variable: "SIGNALBOX_TOOLS_FILE",
    schema: z.string().min(1).optional(),
    unset: "signalbox.tools.json in the working folder, if it is there",
    allowed: "a file of JSON",
    example: "/etc/signalbox/tools.json",
    description: "which tools a worker offers: packs, hosts that may be fetched, MCP servers",
  },
  ...blobSettingTable,
  ...artifactSettingTable,
  url: {
    variable: "SIGNALBOX_URL",
    schema: z.url({ protocol: /^https?$/ }),
    fallback: "http://127.0.0.1:8080",
    allowed: "an http:// or https:// address",
    example: "https://signalbox.example",
    description: "the server that client commands and workers call",
    mask: maskUrl,
  },
  workspaceId: {
    variable: "SIGNALBOX_WORKSPACE",
    schema: z.string().regex(/^ws_[0-9A-Za-z]{1,40}$/),
    fallback: "ws_dev",
    allowed: "ws_ and 1 to 40 letters or digits",
    example: "ws_research",
    description: "the workspace that client commands and workers use",
  },
  onBehalfOf: {
    variable: "SIGNALBOX_AS",
    schema: list(z.string().regex(/^(user|agent|service):[!-~]{1,200}$/)).refine((names) => names.length <= 8),
    fallback: "",
    allowed: "up to 8 names like user:alice, agent:agt_… or service:shop with commas between",
    example: "user:alice",
    description: "on whose behalf client commands call, nearest first; without authentication the first is who calls",
  },
  ...modelSettingTable,
} as const satisfies Record<string, Setting>;

/** What the table makes of an environment. */
export type SettingValues = { [K in keyof typeof settingTable]: z.output<(typeof settingTable)[K]["schema"]> };

function key32() {
  return z
    .string()
    .regex(/^[A-Za-z0-9+/]{43}=$/)
    .transform((text) => new Uint8Array(Buffer.from(text, "base64")));
}

function whole(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum);
}

/** Items with commas between; blanks around them do not count, and no text is no items. */
function list<Item extends z.ZodType<unknown, string>>(item: Item) {
  return z
    .string()
    .transform((text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
    )
    .pipe(z.array(item));
}

function natsUrls() {
  return z.string().refine((text) => text.split(",").every((address) => isNatsUrl(address.trim())));
}

function isNatsUrl(address: string): boolean {
  const url = URL.parse(address.includes("://") ? address : `nats://${address}`);
  return url !== null && url.hostname !== "" && ["nats:", "tls:"].includes(url.protocol);
}

function isBaseUrl(text: string): boolean {
  const url = /^https?:[!-~]{1,200}$/.test(text) ? URL.parse(text) : null;
  return url !== null && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
}

function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.parse(text)?.origin === text;
}
