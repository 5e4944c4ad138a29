import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import { follow, type FollowOptions, type SignalboxClient } from "../../client/client.ts";
import type { Cli } from "../cli.ts";

/** Follows events until the command is told to stop; says once per break that the connection is lost. */
export async function* followEvents(
  client: Pick<SignalboxClient, "events">,
  { output, signal }: Pick<Cli, "output" | "signal">,
  options: Pick<FollowOptions, "filter" | "fromPosition" | "onDelta">,
): AsyncGenerator<Event, void, undefined> {
  let isLost = false;
  function onRetry(error: unknown): void {
    if (!isLost)
      output.note(`connection lost, waiting for the server: ${error instanceof Error ? error.message : String(error)}`);
    isLost = true;
  }
  for await (const event of follow(client, { ...options, signal, onRetry })) {
    if (isLost) output.note("connected again");
    isLost = false;
    yield event;
  }
}
