import { BundleProblem } from "../../bundles/problem.ts";
import type { VerifiedBundle } from "../../bundles/verify.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { BundleOptions } from "../commands/bundles.ts";
import { saveFile } from "../save-file.ts";
import { bundledArtifacts, bundleJson, bundleText } from "../views/bundle-view.ts";
import { sizeText } from "../views/values.ts";
import { openClient } from "./client.ts";
import { verified } from "./verify-bundle.ts";

/** `signalbox bundle`. */
export async function bundleRun(cli: Cli, runId: string, options: BundleOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  const { output: path = `${runId}.zip`, force = false, artifact = [], withoutArtifacts = false } = options;
  // It becomes the name of a file.
  if (!/^run_\w+$/.test(runId)) throw usageError(`${runId} is no id of a run`, "signalbox runs ls lists the runs.");
  using client = openClient(cli);
  const request = { runId, artifactIds: [...artifact], withoutArtifacts };
  // Called when the first byte is wanted: a call that nobody reads fails unheard when the client closes.
  const bytes = told(cli, runId, () => client.artifacts.downloadBundle(request, { signal }));
  if (path === "-") return await toStdout(cli, bytes);
  await saveFile(path, force, bytes);
  output.progress("");
  const bundle = await verified(path);
  if (bundle instanceof BundleProblem) {
    const message = `${path} was written, but it does not fit together, at ${bundle.place}: ${bundle.message}`;
    throw new CliError(message, "The log may be damaged: signalbox verify checks it.", exitCodes.failed);
  }
  output.show({ path, ...bundleJson(bundle) }, writtenText(path, bundle));
  return exitCodes.ok;
}

/** The bytes, while people are told how many have come. */
async function* told({ output }: Cli, runId: string, download: () => AsyncIterable<{ readonly data: Uint8Array }>) {
  let sizeBytes = 0;
  for await (const { data } of download()) {
    yield data;
    sizeBytes += data.length;
    output.progress(`bundling ${runId}  ${sizeText(sizeBytes)}`);
  }
}

async function toStdout({ output }: Cli, bytes: AsyncIterable<Uint8Array>): Promise<ExitCode> {
  if (output.columns !== undefined) {
    throw usageError("stdout is a terminal, which a zip would garble", "Name a file with -o, or pipe it on.");
  }
  for await (const piece of bytes) await output.raw(piece);
  output.progress("");
  return exitCodes.ok;
}

function writtenText(path: string, bundle: VerifiedBundle): string {
  const artifacts = bundledArtifacts(bundle);
  return [
    `wrote ${path}: ${bundleText(bundle)}`,
    `head hash ${bundle.headHash} (write it down elsewhere: \`signalbox verify ${path} --head …\` needs it)`,
    ...(artifacts === "" ? [] : ["", artifacts]),
  ].join("\n");
}
