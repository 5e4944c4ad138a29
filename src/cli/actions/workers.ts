import { toJson } from "@bufbuild/protobuf";
import { type Worker, WorkerSchema } from "../../../gen/signalbox/v1/worker_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListWorkersOptions } from "../commands/workers.ts";
import { workerTable } from "../views/worker-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox workers ls`. */
export async function listWorkers(cli: Cli, { limit }: ListWorkersOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const workers: Worker[] = await pages(limit, async (page) => {
    const response = await client.engine.listWorkers(page, { signal: cli.signal });
    return { items: response.workers, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, workers, (worker) => toJson(WorkerSchema, worker), workerTable);
  return exitCodes.ok;
}
