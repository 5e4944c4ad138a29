import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import type { Message } from "../../../gen/signalbox/v1/room_pb.ts";
import { personBehind } from "../../kernel/principal.ts";
import { because, chatLine, clockText, messageLine, type Names } from "./chat.ts";
import { createTimeline } from "./timeline.ts";

/** What is told of runs in a room: that they begin, wait, and end; how they work is in `signalbox events tail --run`. */
const told: ReadonlySet<Event["payload"]["case"]> = new Set([
  "runCreated",
  "runSucceeded",
  "runFailed",
  "runCanceled",
  "runSuspended",
  "runPaused",
  "runResumed",
  "toolCallGated",
  "toolCallDenied",
  "roomCreated",
  "roomUpdated",
  "roomArchived",
  "roomMemberAdded",
  "roomMemberRemoved",
  "threadCreated",
  "approvalRequested",
  "approvalDecided",
  "approvalEdited",
  "approvalDelegated",
  "approvalEscalated",
  "approvalExpired",
  "approvalCanceled",
  "approvalConsumed",
  "incidentOpened",
  "incidentRecurred",
  "incidentAcknowledged",
  "incidentNoteAdded",
  "incidentResolved",
] as const);

/** Tells what happens in a room: messages as a chat, anything else in a line. */
export interface RoomTimeline {
  /**
   * The lines of an event; undefined for what is not told. `now` is the message of an event of one as it is by now, for what
   * is told later than it happened: it is told once, where it was posted.
   */
  line(event: Event, now?: Message): string | undefined;
}

/** A room of which nothing was told. */
export function createRoomTimeline(names: Names): RoomTimeline {
  const timeline = createTimeline();
  // Runs that answer messages: what they are given and what they say stands in those, as it is by now.
  const answering = new Set<string>();

  function wordless(event: Event): Event {
    const { payload, stream } = event;
    const runId = stream?.id ?? "";
    if (payload.case === "runCreated" && payload.value.messageId !== "") {
      answering.add(runId);
      const { input: _said, ...value } = payload.value;
      return { ...event, payload: { case: payload.case, value } };
    }
    if (payload.case !== "runSucceeded" || !answering.delete(runId)) return event;
    const { output: _said, ...value } = payload.value;
    return { ...event, payload: { case: payload.case, value } };
  }

  return {
    line(event, now) {
      const { payload } = event;
      if (payload.case === "roomMemberAdded") names.set(payload.value.principal, payload.value.handle);
      if (now !== undefined) return payload.case === "messagePosted" ? messageLine(now, names) : undefined;
      if (told.has(payload.case)) return `${clockText(event.createTime)}  · ${timeline.short(wordless(event))}`;
      return spokenLine(event, names);
    },
  };
}

/** What somebody says, or says otherwise; undefined for anything else. */
function spokenLine({ payload, actor, createTime, stream, threadId }: Event, names: Names): string | undefined {
  const who = actor === undefined ? "" : names.of(personBehind(actor));
  const head = `${clockText(createTime)}  ${who}${threadId === "" ? "" : ` in ${threadId}`}`;
  const messageId = stream?.id ?? "";
  if (payload.case === "messageEdited") return chatLine(`${head} edits ${messageId}:`, payload.value.text);
  if (payload.case === "messageRedacted") return `${head} redacts ${messageId}${because(payload.value.reason)}`;
  if (payload.case !== "messagePosted") return undefined;
  const { text, runId, mentionsRefused } = payload.value;
  const line = chatLine(runId === "" ? head : `${head} (${runId})`, text);
  return mentionsRefused ? `${line}\n    (agents are not called: too many answers in a row)` : line;
}
