import { toJson } from "@bufbuild/protobuf";
import { type GetSnapshotResponse, GetSnapshotResponseSchema } from "../../../gen/signalbox/v1/pipeline_service_pb.ts";
import { createBackoff, pause } from "../../client/backoff.ts";
import { isTransient, type SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { BoardOptions } from "../commands/board.ts";
import { boardView } from "../views/board-view.ts";
import { openClient } from "./client.ts";
import { followEvents } from "./following.ts";

/** How wide a board is where there is no terminal. */
const defaultColumns = 132;
/** The shortest time between two pictures. */
const redrawMs = 200;

/** `signalbox board`. */
export async function board(cli: Cli, { room: roomId = "", limit, watch }: BoardOptions): Promise<ExitCode> {
  const { output, signal } = cli;
  using client = openClient(cli);
  let snapshot = await client.pipeline.getSnapshot({ roomId, limit }, { signal });
  if (!watch) {
    show(cli, snapshot, output.say);
    return exitCodes.ok;
  }
  show(cli, snapshot, output.page);
  const following = { filter: { roomId }, fromPosition: snapshot.position };
  for await (const event of followEvents(client, cli, following)) {
    // Many events make one picture: those that it shows already are behind it.
    if (event.position <= snapshot.position) continue;
    await pause(redrawMs, signal);
    const next = await snapshotWith(client, cli, { roomId, limit, minPosition: event.position });
    if (next === undefined) break;
    snapshot = next;
    show(cli, snapshot, output.page);
  }
  return exitCodes.ok;
}

/** The snapshot, whatever becomes of the server meanwhile; undefined when the command is to stop. */
async function snapshotWith(
  client: Pick<SignalboxClient, "pipeline">,
  { signal }: Cli,
  request: { roomId: string; limit: number; minPosition: bigint },
): Promise<GetSnapshotResponse | undefined> {
  const backoff = createBackoff(100, 5_000);
  while (!signal.aborted) {
    try {
      return await client.pipeline.getSnapshot(request, { signal });
    } catch (error) {
      if (signal.aborted || !isTransient(error)) throw error;
      await pause(backoff.next(), signal);
    }
  }
  return undefined;
}

function show({ output }: Cli, snapshot: GetSnapshotResponse, draw: (text: string) => void): void {
  if (output.json) output.print(JSON.stringify(toJson(GetSnapshotResponseSchema, snapshot)));
  else draw(boardView(snapshot, output.columns ?? defaultColumns, Date.now()));
}
