import { create, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Queue, QueueSchema, RateLimitSchema } from "../../../gen/signalbox/v1/queue_pb.ts";
import { reasonOf, type SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListQueuesOptions, PutQueueOptions } from "../commands/queues.ts";
import { given } from "../given.ts";
import { queueTable, queueView } from "../views/queue-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox queues ls`. */
export async function listQueues(cli: Cli, { limit }: ListQueuesOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const queues: Queue[] = await pages(limit, async (page) => {
    const response = await client.queues.listQueues(page, { signal: cli.signal });
    return { items: response.queues, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, queues, (queue) => toJson(QueueSchema, queue), queueTable);
  return exitCodes.ok;
}

/** `signalbox queues get`. */
export async function getQueue(cli: Cli, name: string): Promise<ExitCode> {
  using client = openClient(cli);
  const { queue } = await client.queues.getQueue({ name }, { signal: cli.signal });
  return show(cli, queue);
}

/** `signalbox queues put`: the settings that are not given stay as they are. */
export async function putQueue(cli: Cli, name: string, options: PutQueueOptions): Promise<ExitCode> {
  const { maxRunning, maxRunningPerKey, held, rate } = options;
  const changes = given({ maxRunning, maxRunningPerKey, held });
  if (rate === undefined && Object.keys(changes).length === 0) {
    throw usageError("nothing to set was given", "signalbox queues put --help lists what can be set.");
  }
  using client = openClient(cli);
  const before = await queueAsItIs(client, cli, name);
  const rateLimit = rate === undefined ? before.rateLimit : rateLimitOf(rate);
  const { queue } = await client.queues.putQueue(
    { queue: create(QueueSchema, { ...before, ...changes, rateLimit }) },
    { signal: cli.signal },
  );
  return show(cli, queue);
}

/** The queue with its etag; one that nobody has put or used is as good as any. */
async function queueAsItIs(client: SignalboxClient, { signal }: Cli, name: string): Promise<Queue> {
  try {
    const { queue } = await client.queues.getQueue({ name }, { signal });
    if (queue !== undefined) return queue;
  } catch (error) {
    if (reasonOf(error) !== "QUEUE_NOT_FOUND") throw error;
  }
  return create(QueueSchema, { name });
}

function rateLimitOf(rate: NonNullable<PutQueueOptions["rate"]>): Queue["rateLimit"] {
  if (rate === "none") return undefined;
  return create(RateLimitSchema, { runs: rate.count, period: durationFromMs(rate.periodMs) });
}

function show({ output }: Cli, queue: Queue | undefined): ExitCode {
  if (queue === undefined) throw new Error("the server answered without a queue");
  output.show(toJson(QueueSchema, queue), queueView(queue));
  return exitCodes.ok;
}
