import { toJson } from "@bufbuild/protobuf";
import type { Principal } from "../../../gen/signalbox/v1/common_pb.ts";
import { type RoomMember, RoomMemberSchema, RoomSchema } from "../../../gen/signalbox/v1/room_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { AddMemberOptions, InRoomOptions } from "../commands/rooms.ts";
import { memberTable, roomView } from "../views/room-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox rooms members ls`. */
export async function listMembers(cli: Cli, roomId: string, { limit }: InRoomOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const members = await membersOf(client, cli, roomId, limit);
  showList(cli.output, members, (member) => toJson(RoomMemberSchema, member), memberTable);
  return exitCodes.ok;
}

/** The first `limit` members of a room, by handle. */
export function membersOf(
  client: Pick<SignalboxClient, "rooms">,
  { signal }: Pick<Cli, "signal">,
  roomId: string,
  limit = Infinity,
): Promise<RoomMember[]> {
  return pages(limit, async (page) => {
    const response = await client.rooms.listRoomMembers({ roomId, ...page }, { signal });
    return { items: response.members, nextPageToken: response.nextPageToken };
  });
}

/** `signalbox rooms members add`. */
export async function addMember(
  cli: Cli,
  roomId: string,
  principal: Principal,
  { handle = "" }: AddMemberOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const { member } = await client.rooms.addRoomMember({ roomId, principal, handle }, { signal: cli.signal });
  if (member === undefined) throw new Error("the server answered without a member");
  cli.output.show(toJson(RoomMemberSchema, member), memberTable([member]));
  return exitCodes.ok;
}

/** `signalbox rooms members rm`. */
export async function removeMember(cli: Cli, roomId: string, principal: Principal): Promise<ExitCode> {
  using client = openClient(cli);
  const { room } = await client.rooms.removeRoomMember({ roomId, principal }, { signal: cli.signal });
  if (room === undefined) throw new Error("the server answered without a room");
  cli.output.show(toJson(RoomSchema, room), roomView(room));
  return exitCodes.ok;
}
