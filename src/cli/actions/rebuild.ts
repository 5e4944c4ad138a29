import { rebuild } from "../../readmodel/rebuild.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { allProjections } from "../serve.ts";
import { openUpkeep, progressText } from "../upkeep.ts";
import { durationText } from "../views/values.ts";

/** `signalbox rebuild`. */
export async function rebuildTables(cli: Cli): Promise<ExitCode> {
  const { output } = cli;
  await using upkeep = await openUpkeep(cli);
  const { postgres, log } = upkeep;
  const startMs = performance.now();
  const { position } = await rebuild({
    postgres,
    log,
    projections: allProjections,
    onProgress: (progress) => output.progress(progressText("rebuilding", progress)),
  });
  output.progress("");
  const tookMs = Math.round(performance.now() - startMs);
  output.show(
    { position: String(position), tookMs },
    `rebuilt the read models up to position ${position} in ${durationText(tookMs)}`,
  );
  return exitCodes.ok;
}
