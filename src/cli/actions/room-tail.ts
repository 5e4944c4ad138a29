import { toJson } from "@bufbuild/protobuf";
import { type RunDelta, RunDeltaSchema } from "../../../gen/signalbox/v1/delta_pb.ts";
import { type Event, EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import type { Message } from "../../../gen/signalbox/v1/room_pb.ts";
import { reasonOf, type SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { TailOptions } from "../commands/messages.ts";
import { createNames, type Names } from "../views/chat.ts";
import { createLiveOutput } from "../views/live-output.ts";
import { createRoomTimeline } from "../views/room-timeline.ts";
import { openClient } from "./client.ts";
import { followEvents } from "./following.ts";
import { headPosition } from "./head-position.ts";
import { pages } from "./listing.ts";
import { membersOf } from "./room-members.ts";

/** `signalbox tail --room`. */
export async function tailRoom(cli: Cli, options: TailOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  using client = openClient(cli);
  const head = await headPosition(client, signal);
  const names = await namesOf(client, cli, options.room);
  const fromPosition = options.from ?? (await startOf(client, cli, options, head));
  const timeline = createRoomTimeline(names);
  const live = createLiveOutput({ write: output.write, line: output.say });
  function onDelta(delta: RunDelta): void {
    if (output.json) output.print(JSON.stringify({ delta: toJson(RunDeltaSchema, delta) }));
    else live.delta(delta);
  }
  const filter = { roomId: options.room, threadId: options.thread ?? "" };
  const following = { filter, fromPosition, ...(options.deltas ? { onDelta } : {}) };
  for await (const event of followEvents(client, cli, following)) {
    if (output.json) {
      output.show(toJson(EventSchema, event), "");
      continue;
    }
    const line = timeline.line(event, event.position <= head ? await messageOf(client, cli, event) : undefined);
    if (line === undefined) continue;
    live.interrupted();
    output.say(line);
  }
  return exitCodes.ok;
}

/** What the members of a room are called. A room that nobody has created has none, and can be followed all the same. */
async function namesOf(client: SignalboxClient, cli: Cli, roomId: string): Promise<Names> {
  const names = createNames();
  try {
    for (const { principal, handle } of await membersOf(client, cli, roomId)) names.set(principal, handle);
  } catch (error) {
    if (reasonOf(error) !== "ROOM_NOT_FOUND") throw error;
    cli.output.note(`nobody has created ${roomId}: what runs do in it shows, but nobody can say anything`);
  }
  return names;
}

/** The position before the oldest of the newest messages; the head when there are none, or none are wanted. */
async function startOf(client: SignalboxClient, { signal }: Cli, options: TailOptions, head: bigint): Promise<bigint> {
  const { room: roomId, thread: threadId = "", last } = options;
  if (last === 0) return head;
  const request = { roomId, threadId, newestFirst: true, minPosition: head };
  try {
    const messages = await pages(last, async (page) => {
      const response = await client.rooms.listMessages({ ...request, ...page }, { signal });
      return { items: response.messages, nextPageToken: response.nextPageToken };
    });
    const oldest = messages.at(-1)?.createPosition ?? head + 1n;
    return oldest > head ? head : oldest - 1n;
  } catch (error) {
    if (reasonOf(error) !== "ROOM_NOT_FOUND") throw error;
    return head;
  }
}

/** The message of an event as it is by now, so that what was redacted since is not shown again. */
async function messageOf(client: SignalboxClient, { signal }: Cli, event: Event): Promise<Message | undefined> {
  const { stream } = event;
  if (stream?.type !== "message") return undefined;
  const { message } = await client.rooms.getMessage({ messageId: stream.id }, { signal });
  return message;
}
