import { toJson } from "@bufbuild/protobuf";
import { type Thread, ThreadSchema } from "../../../gen/signalbox/v1/room_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { CreateThreadOptions, InRoomOptions } from "../commands/rooms.ts";
import { threadTable } from "../views/room-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox rooms threads ls`. */
export async function listThreads(cli: Cli, roomId: string, { limit }: InRoomOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const threads: Thread[] = await pages(limit, async (page) => {
    const response = await client.rooms.listThreads({ roomId, ...page }, { signal: cli.signal });
    return { items: response.threads, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, threads, (thread) => toJson(ThreadSchema, thread), threadTable);
  return exitCodes.ok;
}

/** `signalbox rooms threads create`. */
export async function createThread(
  cli: Cli,
  roomId: string,
  { title, requestId = "" }: CreateThreadOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  const { thread } = await client.rooms.createThread({ roomId, title, requestId }, { signal: cli.signal });
  if (thread === undefined) throw new Error("the server answered without a thread");
  cli.output.show(toJson(ThreadSchema, thread), thread.threadId);
  return exitCodes.ok;
}
