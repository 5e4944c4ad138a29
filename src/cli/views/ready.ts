import { offlineModel } from "../../models/offline-model.ts";
import { defaultModelOf } from "../models.ts";
import { type durabilities, settingTable } from "../setting-table.ts";
import type { Settings } from "../settings.ts";

/** What an acknowledged event survives, in words. */
const durabilityText = {
  fsync: "fsync: what was acknowledged survives a power cut of this machine",
  relaxed: "relaxed: what was acknowledged survives the death of a process, but not a power cut",
  replicated: "replicated: what was acknowledged is on three nodes of your NATS cluster",
} as const satisfies Record<(typeof durabilities)[number], string>;

/** What `signalbox up` says once it is ready: where it listens, what to try, where the data is. */
export function readyText(settings: Settings, url: string | undefined, dataDir: string): string {
  const lines = [`signalbox ready ${url ?? `(${settings.roles.join(", ")})`}`];
  if (url !== undefined)
    lines.push("", "Try, in another terminal:", ...examples(settings, url).map((line) => `  ${line}`));
  lines.push("", `Data        ${dataText(settings, dataDir)}`, `Durability  ${durabilityOf(settings)}`);
  lines.push(`Model       ${modelText(settings)}`);
  return `${lines.join("\n")}\n\nCtrl-C stops everything; the next start finds it all again.`;
}

function examples({ auth }: Settings, url: string): string[] {
  const token = auth.mode === "static_token" ? `-H "authorization: Bearer $SIGNALBOX_TOKEN" ` : "";
  const json = `-H 'content-type: application/json'`;
  const input = `{"handler":"echo","input":{"hello":"world"}}`;
  const environment = url === settingTable.url.fallback ? "" : `SIGNALBOX_URL=${url} `;
  return [
    `curl ${token}${json} -d '${input}' ${url}/signalbox.v1.RunService/CreateRun`,
    `${environment}npm run signalbox -- run steps --input '{"count":3}' --watch`,
    `${environment}npm run signalbox -- run --preset assistant_rag --input "What is a lease?" --watch`,
    `${environment}npm run signalbox -- events tail`,
  ];
}

function modelText(settings: Settings): string {
  const model = defaultModelOf(settings);
  if (model !== offlineModel) return model;
  return `${model}, which is offline; set OPENAI_API_KEY, ANTHROPIC_API_KEY or GOOGLE_GENERATIVE_AI_API_KEY for a real one`;
}

function dataText({ natsUrl, databaseUrl }: Settings, dataDir: string): string {
  if (natsUrl === undefined && databaseUrl === undefined) return dataDir;
  if (natsUrl !== undefined && databaseUrl !== undefined)
    return "in your own NATS (the log) and Postgres (read models)";
  return natsUrl === undefined
    ? `${dataDir} (the log), and your own Postgres (read models)`
    : `your own NATS (the log), and ${dataDir} (read models)`;
}

function durabilityOf({ natsUrl, durability }: Settings): string {
  if (natsUrl === undefined || durability === "replicated") return durabilityText[durability];
  return "as your own NATS is set: its sync_interval decides what survives a power cut";
}
