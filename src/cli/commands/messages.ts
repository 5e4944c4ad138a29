import type { Command } from "commander";
import type { Act } from "../cli.ts";
import { numberOption, positionOption } from "../option-values.ts";

/** Options of `say`. */
export interface SayOptions {
  readonly thread?: string;
  readonly replyTo?: string;
  readonly requestId?: string;
}

/** Options of `tail`. */
export interface TailOptions {
  readonly room: string;
  readonly thread?: string;
  readonly from?: bigint;
  readonly last: number;
  readonly deltas?: true;
}

/** Adds `say` and `tail`. */
export function addMessages(program: Command, act: Act): void {
  program
    .command("say <room-id> <text>")
    .description("post a message; @handle of an agent that is a member makes it answer")
    .option("--thread <thread-id>", "in this thread (default: in the room itself)")
    .option("--reply-to <message-id>", "as an answer to this message")
    .option("--request-id <id>", "makes the command repeatable: the same id is posted once")
    .addHelpText(
      "after",
      `
The text is Markdown; - reads it from stdin. Prints the id of the message, and the runs of the agents that it mentions.

Examples:
  $ signalbox say room_01J… "@desk what is open?" --as user:alice
  $ signalbox say room_01J… "Agreed." --thread th_01J…
  $ git log -1 | signalbox say room_01J… -`,
    )
    .action((roomId: string, text: string, options: SayOptions) =>
      act(async (cli) => (await import("../actions/messages.ts")).say(cli, roomId, text, options)),
    );
  program
    .command("tail")
    .description("follow a room live: what is said in it, and what runs, approvals and incidents do")
    .requiredOption("--room <room-id>", "the room")
    .option("--thread <thread-id>", "only this thread")
    .option("--last <count>", "begin with this many of the newest messages", numberOption, 20)
    .option("--from <position>", "begin after this position", positionOption)
    .option("--deltas", "show what agents write while they write it as well")
    .addHelpText(
      "after",
      `
Survives breaks and restarts of the server without gap or repeat. Ends with Ctrl-C. With --json one event per line;
\`signalbox events tail --room\` shows every event.

Examples:
  $ signalbox tail --room room_01J…
  $ signalbox tail --room room_01J… --last 0 --deltas`,
    )
    .action((options: TailOptions) =>
      act(async (cli) => (await import("../actions/room-tail.ts")).tailRoom(cli, options)),
    );
}
