import { type Command, Option } from "commander";
import type { Principal } from "../../../gen/signalbox/v1/common_pb.ts";
import type { Act } from "../cli.ts";
import { countOption, positionOption, principalOption, zones } from "../option-values.ts";

/** Options of `rooms create`. */
export interface CreateRoomOptions {
  readonly name: string;
  readonly topic?: string;
  readonly zone?: (typeof zones)[number];
  readonly requestId?: string;
}

/** Options of `rooms update`. */
export interface UpdateRoomOptions extends Partial<Omit<CreateRoomOptions, "requestId">> {
  readonly etag?: string;
}

/** Options of `rooms ls`. */
export interface ListRoomsOptions {
  readonly archived?: true;
  readonly limit: number;
}

/** Options of `rooms changes`. */
export interface RoomChangesOptions {
  readonly from?: bigint;
}

/** Options of `rooms unread`. */
export interface UnreadOptions {
  readonly all?: true;
  readonly limit: number;
}

/** Options of `rooms read`. */
export interface MarkReadOptions {
  readonly position?: bigint;
}

/** Options of `rooms members add`. */
export interface AddMemberOptions {
  readonly handle?: string;
}

/** Options of `rooms threads create`. */
export interface CreateThreadOptions {
  readonly title: string;
  readonly requestId?: string;
}

/** Options of lists of what is in a room. */
export interface InRoomOptions {
  readonly limit: number;
}

const repeatable = ["--request-id <id>", "makes the command repeatable: the same id answers the same one"] as const;

/** Adds `rooms`. */
export function addRooms(program: Command, act: Act): void {
  const rooms = program.command("rooms").description("keep rooms, where people and agents talk and see what runs do");
  addReading(rooms, act);
  addWriting(rooms, act);
  addCursors(rooms, act);
  addMembers(rooms.command("members").description("say who takes part in a room"), act);
  addThreads(rooms.command("threads").description("keep conversations in a room"), act);
}

function addReading(rooms: Command, act: Act): void {
  rooms
    .command("ls")
    .alias("list")
    .description("list rooms, newest first")
    .option("--archived", "archived rooms as well")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms ls")
    .action((options: ListRoomsOptions) =>
      act(async (cli) => (await import("../actions/rooms.ts")).listRooms(cli, options)),
    );
  rooms
    .command("show <room-id>")
    .alias("get")
    .description("show a room")
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms show room_01J…")
    .action((roomId: string) => act(async (cli) => (await import("../actions/rooms.ts")).showRoom(cli, roomId)));
}

function addWriting(rooms: Command, act: Act): void {
  settled(rooms.command("create").requiredOption("--name <text>", "what people call it"))
    .description("create a room; whoever does is its first member")
    .option(...repeatable)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox rooms create --name "Release 4" --zone supervised
  $ signalbox rooms create --name Lab --topic "Where we try things" --as user:alice`,
    )
    .action((options: CreateRoomOptions) =>
      act(async (cli) => (await import("../actions/rooms.ts")).createRoom(cli, options)),
    );
  settled(rooms.command("update <room-id>").option("--name <text>", "what people call it"))
    .description("change what is given, and nothing else")
    .option("--etag <etag>", "refuse when the room has changed since this etag was read")
    .addHelpText("after", '\nExamples:\n  $ signalbox rooms update room_01J… --topic "Frozen until Monday"')
    .action((roomId: string, options: UpdateRoomOptions) =>
      act(async (cli) => (await import("../actions/rooms.ts")).updateRoom(cli, roomId, options)),
    );
  rooms
    .command("archive <room-id>")
    .description("take no more messages, for good; what is in it can be read")
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms archive room_01J…")
    .action((roomId: string) => act(async (cli) => (await import("../actions/rooms.ts")).archiveRoom(cli, roomId)));
}

function settled(command: Command): Command {
  return command
    .option("--topic <text>", "what it is about")
    .addOption(new Option("--zone <zone>", "how much is at stake in it").choices(zones));
}

function addCursors(rooms: Command, act: Act): void {
  rooms
    .command("changes <room-id>")
    .description("show what has changed since you looked: messages, runs, approvals, incidents")
    .option("--from <position>", "since this position (default: up to where you have read)", positionOption)
    .addHelpText(
      "after",
      `
\`signalbox rooms read\` says that you have seen it.

Examples:
  $ signalbox rooms changes room_01J… --as user:alice
  $ signalbox rooms changes room_01J… --from 4711 --json`,
    )
    .action((roomId: string, options: RoomChangesOptions) =>
      act(async (cli) => (await import("../actions/room-reading.ts")).showChanges(cli, roomId, options)),
    );
  rooms
    .command("unread")
    .description("list your rooms with what you have not read, the newest message first")
    .option("--all", "also rooms where you have read everything")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms unread --as user:alice")
    .action((options: UnreadOptions) =>
      act(async (cli) => (await import("../actions/room-reading.ts")).listUnread(cli, options)),
    );
  rooms
    .command("read <room-id>")
    .description("say that you have read a room")
    .option("--position <position>", "up to this position (default: everything so far)", positionOption)
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms read room_01J… --as user:alice")
    .action((roomId: string, options: MarkReadOptions) =>
      act(async (cli) => (await import("../actions/room-reading.ts")).markRead(cli, roomId, options)),
    );
}

function addMembers(members: Command, act: Act): void {
  members
    .command("ls <room-id>", { isDefault: true })
    .alias("list")
    .description("list the members of a room, by handle")
    .option("--limit <count>", "how many at most", countOption, 1_000)
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms members ls room_01J…")
    .action((roomId: string, options: InRoomOptions) =>
      act(async (cli) => (await import("../actions/room-members.ts")).listMembers(cli, roomId, options)),
    );
  members
    .command("add <room-id>")
    .argument("<principal>", "for example user:alice or agent:agt_01J…", principalOption)
    .description("let somebody take part, or give a member another handle")
    .option("--handle <name>", "what messages call them by (default: made from their id or name)")
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox rooms members add room_01J… user:alice
  $ signalbox rooms members add room_01J… agent:agt_01J… --handle desk`,
    )
    .action((roomId: string, principal: Principal, options: AddMemberOptions) =>
      act(async (cli) => (await import("../actions/room-members.ts")).addMember(cli, roomId, principal, options)),
    );
  members
    .command("rm <room-id>")
    .argument("<principal>", "for example user:alice", principalOption)
    .description("let somebody go")
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms members rm room_01J… user:alice")
    .action((roomId: string, principal: Principal) =>
      act(async (cli) => (await import("../actions/room-members.ts")).removeMember(cli, roomId, principal)),
    );
}

function addThreads(threads: Command, act: Act): void {
  threads
    .command("ls <room-id>", { isDefault: true })
    .alias("list")
    .description("list the threads of a room, newest first")
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText("after", "\nExamples:\n  $ signalbox rooms threads ls room_01J…")
    .action((roomId: string, options: InRoomOptions) =>
      act(async (cli) => (await import("../actions/room-threads.ts")).listThreads(cli, roomId, options)),
    );
  threads
    .command("create <room-id>")
    .description("begin a conversation and print its id")
    .requiredOption("--title <text>", "what people call it")
    .option(...repeatable)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox rooms threads create room_01J… --title "Why did it fail?"
  $ signalbox say room_01J… "Look at the log first" --thread th_01J…`,
    )
    .action((roomId: string, options: CreateThreadOptions) =>
      act(async (cli) => (await import("../actions/room-threads.ts")).createThread(cli, roomId, options)),
    );
}
