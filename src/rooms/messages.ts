import { type Principal, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Message } from "../../gen/signalbox/v1/room_pb.ts";
import {
  type EditMessageRequest,
  type ListMessagesRequest,
  type PostMessageRequest,
  PostMessageRequestSchema,
  type RedactMessageRequest,
} from "../../gen/signalbox/v1/room_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { personBehind, principalName } from "../kernel/principal.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Answer } from "./answer.ts";
import { answerDepth, calledBy, mentionRequestId } from "./calling.ts";
import {
  editMessage,
  type NewMessage,
  postAnswer,
  postMessage,
  redactMessage,
  requireMessage,
} from "./message-decider.ts";
import { messageAggregate, type MessageState, type PostedMessage } from "./message-state.ts";
import { listMessages } from "./queries.ts";
import { requireOpenRoom, requireRoom } from "./room-decider.ts";
import type { KnownRoom, RoomState } from "./room-state.ts";
import type { Rooms } from "./rooms.ts";
import type { Threads } from "./threads.ts";

/** A message after a command, and where the log stood then. */
export interface MessageAnswer {
  readonly message: Message;
  readonly position: bigint;
}

/** The messages of all rooms; every call sees its own workspace only. Functions throw what room_service.proto names. */
export interface Messages {
  post(call: Call, request: PostMessageRequest): Promise<MessageAnswer>;
  edit(call: Call, request: EditMessageRequest): Promise<MessageAnswer>;
  redact(call: Call, request: RedactMessageRequest): Promise<MessageAnswer>;
  /** The message as it is now. MESSAGE_NOT_FOUND. */
  get(call: Call, messageId: string): Promise<Message>;
  list(call: Call, request: ListMessagesRequest): Promise<{ messages: Message[]; nextPageToken: string }>;
  /**
   * Posts what a run answers to a message, where that stands, as the principal of the call. Once for each run: a repeat
   * changes nothing. Nothing in an archived room. ROOM_NOT_FOUND.
   */
  answer(call: Omit<Call, "signal">, to: Message, runId: string, answer: Answer): Promise<void>;
  /** The message, confirmed by the log's leader; undefined when the workspace has none with the id. */
  load(workspaceId: string, messageId: string): Promise<PostedMessage | undefined>;
}

/** What messages need. */
export interface MessagesDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  readonly rooms: Pick<Rooms, "load">;
  readonly threads: Pick<Threads, "load">;
  /** The id of the run that a CreateRun with this request_id creates. */
  readonly runIdOf: (workspaceId: string, requestId: string) => string;
}

/** The messages on a log and its read models. */
export function createMessages({ db, positions, rooms, threads, runIdOf, ...deps }: MessagesDeps): Messages {
  const aggregates = createAggregates(messageAggregate, deps);

  async function load(workspaceId: string, messageId: string) {
    const { state } = await aggregates.load(workspaceId, messageId);
    return state.status === "absent" ? undefined : state;
  }

  /** What the message says to whom. `callsAgents` is whether mentions of agents create runs. */
  function compose(
    { workspaceId, principal }: Omit<Call, "signal">,
    messageId: string,
    { room, members }: KnownRoom,
    said: Said,
    callsAgents: boolean,
  ): NewMessage {
    const { mentions, refused } = calledBy({
      ...said,
      callsAgents,
      members: members.values(),
      author: principalName(personBehind(principal)),
      runIdOf: (agentId) => runIdOf(workspaceId, mentionRequestId(messageId, agentId)),
    });
    return { ...said, mentions, mentionsRefused: refused, zone: room.zone };
  }

  /** What the request refers to. THREAD_NOT_FOUND, MESSAGE_NOT_FOUND. */
  async function lookUp({ workspaceId }: Call, { roomId, threadId, replyToMessageId }: PostMessageRequest) {
    const [, replied] = await Promise.all([
      threadId === "" ? undefined : threads.load(workspaceId, roomId, threadId),
      replyToMessageId === "" ? undefined : load(workspaceId, replyToMessageId),
    ]);
    if (replyToMessageId === "" || replied?.message.roomId === roomId) return replied;
    throw new SignalboxError(
      "MESSAGE_NOT_FOUND",
      `reply_to_message_id: message ${replyToMessageId} does not exist in room ${roomId}`,
    );
  }

  async function post(call: Call, request: PostMessageRequest): Promise<MessageAnswer> {
    const { requestId, roomId, threadId, text, replyToMessageId } = request;
    const room = await rooms.load(call.workspaceId, roomId);
    const known = requireRoom(room, roomId);
    const replied = await lookUp(call, request);
    const repeatable = requestId !== "";
    const messageId = repeatable ? derivedId("msg", call.workspaceId, "PostMessage", requestId) : deps.ids.next("msg");
    const digest = repeatable ? requestDigest(PostMessageRequestSchema, request) : new Uint8Array();
    const byAgent = isAgent(call.principal);
    const mentionDepth = byAgent ? (replied?.message.mentionDepth ?? 0) + 1 : 0;
    const said = { text, threadId, replyToMessageId, mentionDepth };
    const message = compose(call, messageId, known, said, !byAgent);
    const loaded = await aggregates.execute({
      call,
      id: messageId,
      creation: { roomId, threadId, repeatable },
      decide(state) {
        const draft = postMessage(state, { messageId, requestId, requestDigest: digest }, message);
        // A repeat answers the first one, whatever has become of the room since.
        if (draft !== undefined) requireOpenRoom(room, roomId);
        return draft;
      },
    });
    return answered(loaded, messageId);
  }

  async function edit(call: Call, { messageId, text }: EditMessageRequest): Promise<MessageAnswer> {
    const { message } = requireMessage((await aggregates.load(call.workspaceId, messageId)).state, messageId);
    const room = await rooms.load(call.workspaceId, message.roomId);
    const decide = (state: MessageState) => {
      const draft = editMessage(state, { messageId, text, editor: call.principal });
      if (draft !== undefined) requireOpenRoom(room, message.roomId);
      return draft;
    };
    return answered(await aggregates.execute({ call, id: messageId, decide }), messageId);
  }

  async function answer(
    call: Omit<Call, "signal">,
    to: Message,
    runId: string,
    { text, mayCall }: Answer,
  ): Promise<void> {
    const { roomId, threadId } = to;
    const room: RoomState = await rooms.load(call.workspaceId, roomId);
    const known = requireRoom(room, roomId);
    if (known.status === "archived") return;
    const id = derivedId("msg", call.workspaceId, "answer", runId);
    const replied = { replyToMessageId: to.messageId, mentionDepth: answerDepth(to) };
    const message = compose(call, id, known, { text, threadId, ...replied }, mayCall);
    await aggregates.execute({
      call,
      id,
      creation: { roomId, threadId, repeatable: true },
      decide: (state) => postAnswer(state, runId, message),
    });
  }

  return {
    post,
    edit,
    answer,
    load,
    async redact(call, { messageId, reason }) {
      const decide = (state: MessageState) => redactMessage(state, messageId, reason);
      return answered(await aggregates.execute({ call, id: messageId, decide }), messageId);
    },
    async get({ workspaceId }, messageId) {
      return requireMessage((await aggregates.load(workspaceId, messageId)).state, messageId).message;
    },
    async list({ workspaceId, signal }, request) {
      const { roomId, threadId, afterPosition, newestFirst, pageSize, pageToken, minPosition } = request;
      const filters = [workspaceId, roomId, threadId, afterPosition, newestFirst];
      const page = readPage("messages", filters, pageSize, pageToken);
      requireRoom(await rooms.load(workspaceId, roomId), roomId);
      await positions.reach(minPosition, signal);
      const query = { workspaceId, roomId, threadId, afterPosition, newestFirst, page };
      const { items, nextPageToken } = await listMessages(db, query);
      return { messages: items, nextPageToken };
    },
  };
}

/** What somebody says, before it is clear whom that calls. */
type Said = Omit<NewMessage, "mentions" | "mentionsRefused" | "zone">;

function answered({ state, position }: Loaded<MessageState>, messageId: string): MessageAnswer {
  return { message: requireMessage(state, messageId).message, position };
}

function isAgent(principal: Principal): boolean {
  return personBehind(principal).type === PrincipalType.AGENT;
}
