import { toJson } from "@bufbuild/protobuf";
import { type Room, RoomSchema } from "../../../gen/signalbox/v1/room_pb.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { CreateRoomOptions, ListRoomsOptions, UpdateRoomOptions } from "../commands/rooms.ts";
import { given } from "../given.ts";
import { roomTable, roomView } from "../views/room-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";
import { zoneOf } from "./zones.ts";

/** `signalbox rooms ls`. */
export async function listRooms(cli: Cli, { archived, limit }: ListRoomsOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const rooms: Room[] = await pages(limit, async (page) => {
    const response = await client.rooms.listRooms(
      { includeArchived: archived === true, ...page },
      { signal: cli.signal },
    );
    return { items: response.rooms, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, rooms, (room) => toJson(RoomSchema, room), roomTable);
  return exitCodes.ok;
}

/** `signalbox rooms show`. */
export async function showRoom(cli: Cli, roomId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.rooms.getRoom({ roomId }, { signal: cli.signal })).room);
}

/** `signalbox rooms create`. */
export async function createRoom(cli: Cli, options: CreateRoomOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const request = { ...settingsOf(options), requestId: options.requestId ?? "" };
  return show(cli, (await client.rooms.createRoom(request, { signal: cli.signal })).room);
}

/** `signalbox rooms update`: what is not given stays as it is. */
export async function updateRoom(
  cli: Cli,
  roomId: string,
  { etag = "", ...options }: UpdateRoomOptions,
): Promise<ExitCode> {
  const settings = settingsOf(options);
  const paths = Object.keys(settings);
  if (paths.length === 0) {
    throw usageError("nothing to change was given", "signalbox rooms update --help lists what can be changed.");
  }
  using client = openClient(cli);
  const request = { room: { ...settings, roomId, etag }, updateMask: { paths } };
  return show(cli, (await client.rooms.updateRoom(request, { signal: cli.signal })).room);
}

/** `signalbox rooms archive`. */
export async function archiveRoom(cli: Cli, roomId: string): Promise<ExitCode> {
  using client = openClient(cli);
  return show(cli, (await client.rooms.archiveRoom({ roomId }, { signal: cli.signal })).room);
}

function settingsOf({ name, topic, zone }: Partial<CreateRoomOptions>): Partial<Pick<Room, "name" | "topic" | "zone">> {
  return given({ name, topic, zone: zone && zoneOf[zone] });
}

function show({ output }: Cli, room: Room | undefined): ExitCode {
  if (room === undefined) throw new Error("the server answered without a room");
  output.show(toJson(RoomSchema, room), roomView(room));
  return exitCodes.ok;
}
