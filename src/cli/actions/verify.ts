import { type Verification, verify } from "../../readmodel/verify.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { allProjections } from "../serve.ts";
import { openUpkeep, progressText } from "../upkeep.ts";
import { table } from "../views/table.ts";

/** `signalbox verify`. */
export async function verifyTables(cli: Cli): Promise<ExitCode> {
  const { output } = cli;
  await using upkeep = await openUpkeep(cli);
  const { postgres, log } = upkeep;
  const verification = await verify({
    postgres,
    log,
    projections: allProjections,
    onProgress: (progress) => output.progress(progressText("verifying", progress)),
  });
  output.progress("");
  const { events, streams, head, complete } = verification;
  const differences = verification.differences.map(({ table: name, key, kind, columns }) => {
    return { table: name, key, kind, columns: [...columns] };
  });
  const json = { ok: differences.length === 0, events, streams, head: String(head), differences, complete };
  output.show(json, verificationText(verification));
  return differences.length === 0 ? exitCodes.ok : exitCodes.failed;
}

function verificationText({ events, streams, head, differences, complete }: Verification): string {
  const scope = `${events} events of ${streams} streams up to position ${head}`;
  if (differences.length === 0)
    return `verified ${scope}: every hash is right, and the read models are what the log says`;
  const rows = differences.map(({ table: name, key, kind, columns }) => [name, key, kind, columns.join(", ")]);
  const more = complete ? "" : "\nand more";
  const isLog = differences.some(({ table: name }) => name === "log");
  const wayOut = isLog
    ? "The log itself is damaged: restore it from a backup. The read models were not compared."
    : "The log is sound, the read models are not what it says: `signalbox rebuild` makes them anew.";
  return `${table(["TABLE", "KEY", "WHAT", "COLUMNS"], rows)}${more}\n\nchecked ${scope}\n${wayOut}`;
}
