import { toJson } from "@bufbuild/protobuf";
import { MessageSchema } from "../../../gen/signalbox/v1/room_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { SayOptions } from "../commands/messages.ts";
import { postedText } from "../views/room-view.ts";
import { openClient } from "./client.ts";
import { textArgument } from "./text-argument.ts";

/** `signalbox say`. */
export async function say(cli: Cli, roomId: string, typed: string, options: SayOptions): Promise<ExitCode> {
  const { thread: threadId = "", replyTo: replyToMessageId = "", requestId = "" } = options;
  // An @ begins a mention here, not the name of a file.
  const text = typed === "-" ? await textArgument("<text>", typed) : typed;
  using client = openClient(cli);
  const request = { roomId, text, threadId, replyToMessageId, requestId };
  const { message } = await client.rooms.postMessage(request, { signal: cli.signal });
  if (message === undefined) throw new Error("the server answered without a message");
  cli.output.show(toJson(MessageSchema, message), postedText(message));
  return exitCodes.ok;
}
