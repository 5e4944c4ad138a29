import { toJson } from "@bufbuild/protobuf";
import { ReadCursorSchema, type UnreadRoom, UnreadRoomSchema } from "../../../gen/signalbox/v1/room_pb.ts";
import { GetRoomChangesResponseSchema } from "../../../gen/signalbox/v1/room_service_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { MarkReadOptions, RoomChangesOptions, UnreadOptions } from "../commands/rooms.ts";
import { given } from "../given.ts";
import { createNames } from "../views/chat.ts";
import { changesText } from "../views/room-changes.ts";
import { unreadTable } from "../views/room-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { membersOf } from "./room-members.ts";

/** `signalbox rooms changes`. */
export async function showChanges(cli: Cli, roomId: string, { from }: RoomChangesOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  using client = openClient(cli);
  const changes = await client.rooms.getRoomChanges({ roomId, ...given({ afterPosition: from }) }, { signal });
  const names = createNames();
  for (const { principal, handle } of await membersOf(client, cli, roomId)) names.set(principal, handle);
  output.show(toJson(GetRoomChangesResponseSchema, changes), changesText(changes, names));
  return exitCodes.ok;
}

/** `signalbox rooms unread`. */
export async function listUnread(cli: Cli, { all, limit }: UnreadOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const rooms: UnreadRoom[] = await pages(limit, async (page) => {
    const response = await client.rooms.listUnread({ onlyUnread: all !== true, ...page }, { signal: cli.signal });
    return { items: response.rooms, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, rooms, (room) => toJson(UnreadRoomSchema, room), unreadTable);
  return exitCodes.ok;
}

/** `signalbox rooms read`. */
export async function markRead(cli: Cli, roomId: string, { position = 0n }: MarkReadOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const { cursor } = await client.rooms.markRead({ roomId, readPosition: position }, { signal: cli.signal });
  if (cursor === undefined) throw new Error("the server answered without a cursor");
  cli.output.show(toJson(ReadCursorSchema, cursor), `${cursor.principal} has read up to ${cursor.readPosition}`);
  return exitCodes.ok;
}
