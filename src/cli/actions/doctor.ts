import { checks } from "../checks.ts";
import { CliError, type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { failureOf } from "../failure.ts";
import type { Failure } from "../output.ts";
import { findRunningStack } from "../running-stack.ts";
import { readSettings, type Settings } from "../settings.ts";

/** `signalbox doctor`: one line per check, and the way out of each problem. */
export async function doctor({ env, output }: Cli): Promise<ExitCode> {
  const settings = tryReadSettings(env);
  if (settings instanceof CliError) {
    report("settings", settings.message, failureOf(settings, env));
    return exitCodes.failed;
  }
  report("settings", "can be used");
  const context = { env, settings, running: await findRunningStack(settings.dataDir) };
  let problems = 0;
  for (const { name, run } of checks) {
    output.progress(`checking ${name} …`);
    try {
      const found = await run(context);
      output.progress("");
      report(name, found);
    } catch (error) {
      output.progress("");
      problems++;
      const failure = failureOf(error, env);
      report(name, failure.message, failure);
    }
  }
  if (problems > 0) output.note(problems === 1 ? "there is a problem" : `there are ${problems} problems`);
  return problems === 0 ? exitCodes.ok : exitCodes.failed;

  function report(check: string, message: string, failure?: Failure): void {
    const hint = failure?.hint ?? "";
    const lines = [`${failure === undefined ? "ok     " : "problem"}  ${check.padEnd(11)}  ${message}`];
    if (hint !== "") lines.push(...hint.split("\n").map((line) => `${" ".repeat(22)}${line}`));
    output.show({ check, ok: failure === undefined, message, hint }, lines.join("\n"));
  }
}

function tryReadSettings(env: NodeJS.ProcessEnv): Settings | CliError {
  try {
    return readSettings(env);
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
}
