import { z } from "zod";
import type { artifactSettingTable } from "./artifact-setting-table.ts";
import { type BlobSettingValues, neededByS3 } from "./blob-settings.ts";
import { type CliError, usageError } from "./cli-error.ts";
import type { modelSettingTable } from "./model-setting-table.ts";
import {
  type durabilities,
  type logLevels,
  type roleNames,
  type Setting,
  type SettingValues,
  settingTable,
} from "./setting-table.ts";

/** A part of a server that a process can play. */
export type Role = (typeof roleNames)[number];

/** An OpenAI-compatible API for embeddings. */
export interface EmbeddingSettings {
  readonly url: string;
  readonly model: string;
  readonly apiKey: string | undefined;
}

/** What the environment says, checked, with every default filled in. */
export interface Settings extends ModelSettings, BlobSettingValues, ArtifactSettings {
  /** Address or name to listen on. */
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** As given: relative to the working folder unless absolute. */
  readonly dataDir: string;
  /** A NATS of the user's own; undefined for the embedded one. */
  readonly natsUrl: string | undefined;
  /** A Postgres of the user's own; undefined for the embedded one. */
  readonly databaseUrl: string | undefined;
  readonly auth: { readonly mode: "none" } | { readonly mode: "static_token"; readonly token: string };
  /** What clients and workers send; undefined for nothing. */
  readonly token: string | undefined;
  /** At least one. */
  readonly roles: readonly Role[];
  readonly leaseTtlMs: number;
  /** `replicated` only with a NATS of the user's own. */
  readonly durability: (typeof durabilities)[number];
  /** 32 bytes; undefined for the one in the data folder. */
  readonly secret: Uint8Array | undefined;
  /** 32 bytes; undefined for the root key in a file, or that of a command. At most one of the three is set. */
  readonly rootKey: Uint8Array | undefined;
  /** The file of the root key; undefined for the one in the data folder. */
  readonly rootKeyFile: string | undefined;
  /** The command that has the root key. */
  readonly rootKeyCommand: string | undefined;
  /** The root key before this one: base64, `file:…` or `command:…`. */
  readonly rootKeyOld: string | undefined;
  readonly allowedOrigins: readonly string[];
  /** How others reach the server, without a slash at the end; undefined for what requests say. */
  readonly publicUrl: string | undefined;
  /** How often one caller may ask for the bytes of artifacts. */
  readonly accessesPerMinute: number;
  readonly reflection: boolean;
  readonly logLevel: (typeof logLevels)[number];
  readonly maxInputBytes: number;
  readonly maxOutputBytes: number;
  readonly drainTimeoutMs: number;
  /** Who turns texts into vectors; undefined for the embedder that needs nobody. */
  readonly embeddings: EmbeddingSettings | undefined;
  /** The file that says which tools a worker offers; undefined for the usual one, if it is there. */
  readonly toolsFile: string | undefined;
  /** The server that clients and workers call. */
  readonly url: string;
  /** The workspace that clients and workers use. */
  readonly workspaceId: string;
  /** On whose behalf client commands call, nearest first; empty for nobody. */
  readonly onBehalfOf: readonly string[];
}

/** What the environment says of how much of artifacts is kept, and for how long. */
export type ArtifactSettings = Pick<SettingValues, keyof typeof artifactSettingTable>;

/** What the environment says of models. */
export type ModelSettings = Pick<SettingValues, keyof typeof modelSettingTable>;

/** One setting as it is, for people. */
export interface SettingDescription {
  readonly name: string;
  /** As it stands in the environment, secrets masked; what unset means when it is not there. */
  readonly value: string;
  readonly default: string;
  readonly source: "environment" | "default";
  readonly description: string;
  /** What is wrong with it; undefined when nothing is. */
  readonly problem: string | undefined;
}

/** Reads the environment; an empty variable counts as unset. Throws one CliError that lists every bad variable. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const { values, problems } = parse(env);
  if (values === undefined) throw settingsError([...problems.values()]);
  const { authMode, token, reflection, embeddingsUrl: url, embeddingsModel: model, embeddingsApiKey, ...rest } = values;
  return {
    ...rest,
    token,
    auth: authMode === "static_token" && token !== undefined ? { mode: authMode, token } : { mode: "none" },
    embeddings: url === undefined || model === undefined ? undefined : { url, model, apiKey: embeddingsApiKey },
    reflection: reflection === undefined ? authMode === "none" : reflection === "on",
  };
}

/** Every setting with its value and where that comes from, in the order of the table. Never throws. */
export function describeSettings(env: NodeJS.ProcessEnv): SettingDescription[] {
  const { problems } = parse(env);
  return settings.map((setting) => {
    const { variable, fallback, unset, description, mask } = setting;
    const given = textOf(setting, env);
    const whenUnset = fallback === undefined ? (unset ?? "") : fallback;
    return {
      name: variable,
      value: given === undefined ? whenUnset : (mask?.(given) ?? given),
      default: whenUnset,
      source: given === undefined ? "default" : "environment",
      description,
      problem: problems.get(variable),
    };
  });
}

/** Settings in the order of the table, their types forgotten. */
const settings: readonly Setting[] = Object.values(settingTable);

function parse(env: NodeJS.ProcessEnv): { values: SettingValues | undefined; problems: ReadonlyMap<string, string> } {
  const problems = new Map<string, string>();
  const values: Partial<Record<keyof SettingValues, unknown>> = {};
  for (const key of Object.keys(settingTable) as (keyof SettingValues)[]) {
    const setting: Setting = settingTable[key];
    const result = z.safeParse(setting.schema, textOf(setting, env) ?? setting.fallback);
    if (result.success) values[key] = result.data;
    else problems.set(setting.variable, problemOf(setting, textOf(setting, env) ?? ""));
  }
  for (const [variable, problem] of conflicts(values as Partial<SettingValues>)) {
    if (!problems.has(variable)) problems.set(variable, problem);
  }
  return { values: problems.size === 0 ? (values as SettingValues) : undefined, problems };
}

/** What is wrong between settings that are fine by themselves. */
function* conflicts(values: Partial<SettingValues>): Generator<[string, string]> {
  const { authMode, token, durability, natsUrl, embeddingsUrl, embeddingsModel } = values;
  const { token: tokenSetting, natsUrl: natsSetting, embeddingsModel: modelSetting } = settingTable;
  if (authMode === "static_token" && token === undefined) {
    yield [
      tokenSetting.variable,
      `${tokenSetting.variable} is not set, but SIGNALBOX_AUTH=static_token needs it: ${allowed(tokenSetting)}`,
    ];
  }
  if (durability === "replicated" && natsUrl === undefined) {
    yield [
      natsSetting.variable,
      `${natsSetting.variable} is not set, but SIGNALBOX_DURABILITY=replicated needs a cluster: ${allowed(natsSetting)}`,
    ];
  }
  const rootKeys = (["rootKey", "rootKeyFile", "rootKeyCommand"] as const).filter((key) => values[key] !== undefined);
  for (const key of rootKeys.slice(1)) {
    const [first = key] = rootKeys;
    const { variable } = settingTable[key];
    yield [variable, `${variable} and ${settingTable[first].variable} are both set: give one of them`];
  }
  if (embeddingsUrl !== undefined && embeddingsModel === undefined) {
    yield [
      modelSetting.variable,
      `${modelSetting.variable} is not set, but SIGNALBOX_EMBEDDINGS_URL needs it: ${allowed(modelSetting)}`,
    ];
  }
  for (const setting of values.artifactStore === "s3" ? neededByS3 : []) {
    if (values[setting] !== undefined) continue;
    const needed = settingTable[setting];
    yield [
      needed.variable,
      `${needed.variable} is not set, but SIGNALBOX_ARTIFACT_STORE=s3 needs it: ${allowed(needed)}`,
    ];
  }
}

function problemOf(setting: Setting, text: string): string {
  const shown = setting.mask === undefined ? ` ${JSON.stringify(text)}` : "";
  return `${setting.variable}${shown} can not be used: ${allowed(setting)}`;
}

function allowed(setting: Setting): string {
  return `give ${setting.allowed}, for example ${setting.variable}=${setting.example}`;
}

function settingsError(problems: readonly string[]): CliError {
  const message = problems.length === 1 ? (problems[0] ?? "") : ["settings can not be used:", ...problems].join("\n  ");
  return usageError(message, "`signalbox config` lists every setting with its value and default.");
}

function textOf({ variable }: Setting, env: NodeJS.ProcessEnv): string | undefined {
  const text = env[variable]?.trim();
  return text === "" ? undefined : text;
}
