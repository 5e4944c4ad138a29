import { BundleProblem } from "../../bundles/problem.ts";
import { type VerifiedBundle, verifyBundle } from "../../bundles/verify.ts";
import { evolveRun } from "../../runs/resource.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { VerifyOptions } from "../commands/upkeep.ts";
import { bundledArtifacts, bundleJson, bundleText, problemJson, problemText, proofOf } from "../views/bundle-view.ts";

/** `signalbox verify <bundle>`. */
export async function verify({ output }: Cli, path: string, { head }: VerifyOptions): Promise<ExitCode> {
  const outcome = await verified(path, head);
  if (outcome instanceof BundleProblem) {
    output.show({ ok: false, problem: problemJson(outcome) }, problemText(path, outcome));
    return exitCodes.failed;
  }
  output.show({ ok: true, ...bundleJson(outcome), ...proofOf(outcome) }, verifiedText(path, outcome));
  return exitCodes.ok;
}

/** The bundle, or the first thing about it that does not fit. Throws a CliError when it can not be read. */
export async function verified(path: string, head?: string): Promise<VerifiedBundle | BundleProblem> {
  try {
    return await verifyBundle(path, { evolveRun, ...(head === undefined ? {} : { head }) });
  } catch (error) {
    if (error instanceof BundleProblem) return error;
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    throw usageError(`${path} can not be read: ${error.message}`, "Give the file that `signalbox bundle` wrote.");
  }
}

function verifiedText(path: string, bundle: VerifiedBundle): string {
  const { proved, notProved } = proofOf(bundle);
  const list = (title: string, items: readonly string[]) => [title, ...items.map((item) => `  - ${item}`)].join("\n");
  const parts = [
    `verified ${path}: ${bundleText(bundle)}\nhead hash ${bundle.headHash}`,
    bundledArtifacts(bundle),
    list("Proved:", proved),
    list("Not proved:", notProved),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}
