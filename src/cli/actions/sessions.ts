import { toJson } from "@bufbuild/protobuf";
import { type Session, SessionSchema, type Turn, TurnSchema } from "../../../gen/signalbox/v1/session_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ListSessionsOptions, SessionHistoryOptions } from "../commands/sessions.ts";
import { historyText, sessionTable, sessionView } from "../views/session-view.ts";
import { openClient } from "./client.ts";
import { pages, showList } from "./listing.ts";

/** `signalbox sessions ls`. */
export async function listSessions(cli: Cli, { limit }: ListSessionsOptions): Promise<ExitCode> {
  using client = openClient(cli);
  const sessions: Session[] = await pages(limit, async (page) => {
    const response = await client.sessions.listSessions(page, { signal: cli.signal });
    return { items: response.sessions, nextPageToken: response.nextPageToken };
  });
  showList(cli.output, sessions, (session) => toJson(SessionSchema, session), sessionTable);
  return exitCodes.ok;
}

/** `signalbox sessions get`. */
export async function getSession(cli: Cli, sessionId: string): Promise<ExitCode> {
  using client = openClient(cli);
  const { session } = await client.sessions.getSession({ sessionId }, { signal: cli.signal });
  if (session === undefined) throw new Error("the server answered without a session");
  cli.output.show(toJson(SessionSchema, session), sessionView(session));
  return exitCodes.ok;
}

/** `signalbox sessions history`. */
export async function sessionHistory(
  cli: Cli,
  sessionId: string,
  { after = "" }: SessionHistoryOptions,
): Promise<ExitCode> {
  using client = openClient(cli);
  let session: Session | undefined;
  const turns: Turn[] = await pages(Infinity, async (page) => {
    const request = { sessionId, afterRunId: after, ...page };
    const response = await client.sessions.getSessionHistory(request, { signal: cli.signal });
    session = response.session;
    return { items: response.turns, nextPageToken: response.nextPageToken };
  });
  showList(
    cli.output,
    turns,
    (turn) => toJson(TurnSchema, turn),
    (shown) => historyText(shown, session?.compaction),
  );
  return exitCodes.ok;
}
