import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { type Evaluation, EvaluationSchema, type Suite, SuiteSchema } from "../../../gen/signalbox/v1/eval_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListEvalsOptions, PutSuiteOptions } from "../commands/evals.ts";
import { evaluationTable, suiteTable, suiteView } from "../views/eval-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { fileArgument } from "./text-argument.ts";

/** `signalbox eval put`. */
export async function putSuite(cli: Cli, file: string, { check }: PutSuiteOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { suite: await readSuite(file), validateOnly: check === true };
  return showSuite(cli, (await client.evals.putSuite(request, { signal: cli.signal })).suite);
}

/** `signalbox eval archive`. */
export async function archiveSuite(cli: Cli, which: string): Promise<ExitCode> {
  using client = openClient(cli);
  const { suiteId } = await findSuite(client, cli, which);
  return showSuite(cli, (await client.evals.archiveSuite({ suiteId }, { signal: cli.signal })).suite);
}

/** `signalbox eval list`. */
export async function listEvals(cli: Cli, { suite, limit }: ListEvalsOptions): Promise<ExitCode> {
  const { signal } = cli;
  using client = openClient(cli);
  if (suite === undefined) {
    const suites: Suite[] = await pages(limit, async (page) => {
      const response = await client.evals.listSuites(page, { signal });
      return { items: response.suites, nextPageToken: response.nextPageToken };
    });
    showList(cli.output, suites, (one) => toJson(SuiteSchema, one), suiteTable);
    return exitCodes.ok;
  }
  const { suiteId } = await findSuite(client, cli, suite);
  const evaluations: Evaluation[] = await pages(limit, async (page) => {
    const response = await client.evals.listEvaluations({ suiteId, ...page }, { signal });
    return { items: response.evaluations, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, evaluations, (one) => toJson(EvaluationSchema, one), evaluationTable);
  return exitCodes.ok;
}

/** The suite with an id or a name. */
export async function findSuite(client: SignalboxClient, { signal }: Cli, which: string): Promise<Suite> {
  const request = /^suite_[0-9A-Z]{26}$/.test(which) ? { suiteId: which } : { name: which };
  return present((await client.evals.getSuite(request, { signal })).suite);
}

/** The suite of a file, or of stdin for a single -. */
export async function readSuite(file: string): Promise<Suite> {
  const text = await fileArgument("<file>", file);
  try {
    return fromJsonString(SuiteSchema, text);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(
      `${file} is no suite: ${cause}`,
      "`signalbox eval show <suite> --json` prints one that can be put.",
    );
  }
}

/** Shows everything about a suite. */
export function showSuite({ output }: Cli, suite: Suite | undefined): ExitCode {
  const shown = present(suite);
  output.show(toJson(SuiteSchema, shown), suiteView(shown));
  return exitCodes.ok;
}

function present(suite: Suite | undefined): Suite {
  if (suite === undefined) throw new Error("the server answered without a suite");
  return suite;
}
