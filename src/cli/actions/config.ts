import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { describeSettings } from "../settings.ts";
import { table } from "../views/table.ts";

/** `signalbox config`. */
export async function config({ env, output }: Cli): Promise<ExitCode> {
  const settings = describeSettings(env);
  const rows = settings.map((setting) => {
    const source = setting.source === "environment" ? `environment, not ${setting.default || "empty"}` : setting.source;
    return [setting.name, setting.value, source, setting.description];
  });
  output.say(table(["SETTING", "VALUE", "SOURCE", "WHAT IT IS"], rows));
  if (output.json) {
    for (const setting of settings) output.show({ ...setting, problem: setting.problem ?? null }, "");
  }
  const problems = settings.flatMap(({ problem }) => problem ?? []);
  for (const message of problems) output.fail({ message, hint: "", reason: undefined });
  return problems.length === 0 ? exitCodes.ok : exitCodes.usage;
}
