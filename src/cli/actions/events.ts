import { toJson } from "@bufbuild/protobuf";
import { type RunDelta, RunDeltaSchema } from "../../../gen/signalbox/v1/delta_pb.ts";
import { EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { EventOptions, ListEventsOptions, TailEventsOptions } from "../commands/events.ts";
import { createLiveOutput } from "../views/live-output.ts";
import { createTimeline } from "../views/timeline.ts";
import { openClient } from "./client.ts";
import { followEvents } from "./following.ts";
import { headPosition } from "./head-position.ts";

/** The largest page that the server gives. */
const maxPageSize = 200;

/** `signalbox events tail`. */
export async function tailEvents(cli: Cli, options: TailEventsOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  using client = openClient(cli);
  // Asked in any case: a server that never was there is an error, one that goes away later is waited for.
  const head = await headPosition(client, signal);
  const fromPosition = options.from ?? (options.run === undefined ? head : 0n);
  const timeline = createTimeline();
  const live = createLiveOutput({ write: output.write, line: output.say });
  function onDelta(delta: RunDelta): void {
    if (output.json) output.print(JSON.stringify({ delta: toJson(RunDeltaSchema, delta) }));
    else live.delta(delta);
  }
  const following = { filter: filterOf(options), fromPosition, ...(options.deltas ? { onDelta } : {}) };
  for await (const event of followEvents(client, cli, following)) {
    live.interrupted();
    output.show(toJson(EventSchema, event), timeline.at(event));
  }
  return exitCodes.ok;
}

/** `signalbox events ls`. */
export async function listEvents(cli: Cli, options: ListEventsOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  using client = openClient(cli);
  const timeline = createTimeline();
  let afterPosition = options.from ?? 0n;
  for (let left = options.limit; left > 0;) {
    const page = { afterPosition, pageSize: Math.min(left, maxPageSize) };
    const { events, nextPosition } = await client.events.listEvents({ filter: filterOf(options), ...page }, { signal });
    for (const event of events) output.show(toJson(EventSchema, event), timeline.at(event));
    if (events.length === 0 && nextPosition <= afterPosition) break;
    left -= events.length;
    afterPosition = nextPosition;
  }
  return exitCodes.ok;
}

function filterOf({ run = "", room = "", type = [] }: EventOptions) {
  return { runId: run, roomId: room, types: [...type] };
}
