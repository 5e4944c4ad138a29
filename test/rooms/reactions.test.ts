import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AgentSchema } from "../../gen/signalbox/v1/agent_pb.ts";
import { type Principal, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { MessageSchema } from "../../gen/signalbox/v1/room_pb.ts";
import { type Run, RunSchema, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import {
  AddRoomMemberRequestSchema,
  CreateRoomRequestSchema,
  PostMessageRequestSchema,
} from "../../gen/signalbox/v1/room_service_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue, valueToJson } from "../../src/client/json.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Call } from "../../src/kernel/call.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { derivedId, randomIds as ids } from "../../src/kernel/ids.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { createMessages } from "../../src/rooms/messages.ts";
import { createReactions } from "../../src/rooms/reactions.ts";
import { createRooms } from "../../src/rooms/rooms.ts";
import { createThreads } from "../../src/rooms/threads.ts";
import { agent, agentId, user } from "./rooms.ts";

const workspaceId = "ws_one";
const { signal } = new AbortController();
const call: Call = { workspaceId, principal: user("alice"), correlationId: "corr_1", traceparent: "", signal };
const runIdOf = (workspace: string, requestId: string) => derivedId("run", workspace, requestId);

/** A room with an agent in it and a message that calls it, on a log in memory. `refuse` and `lose` are the faults of CreateRun. */
async function setUp() {
  const log = createEventLog(createMemoryStore(), createSubjects());
  const deps = { log, clock, ids, db: {} as Db, positions: { reach: async () => undefined } };
  const findAgent = async () => create(AgentSchema, { agentId, name: "bot" });
  const rooms = createRooms({ ...deps, findAgent });
  const threads = createThreads({ ...deps, rooms });
  const messages = createMessages({ ...deps, rooms, threads, runIdOf });
  const runs = new Map<string, Run>();
  const creations: { call: Call; request: CreateRunRequest }[] = [];
  const faults: { refuse?: () => void; lose?: () => void } = {};
  const reactions = createReactions({
    rooms,
    messages,
    findAgent,
    runs: {
      async create(given, request) {
        faults.refuse?.();
        creations.push({ call: given, request });
        const runId = runIdOf(given.workspaceId, request.requestId);
        const { messageId, input } = request;
        runs.set(
          runId,
          create(RunSchema, { runId, agentId, messageId, ...(input && { input }), createBy: given.principal }),
        );
        faults.lose?.();
      },
      find: async (_workspaceId, runId) => runs.get(runId),
    },
  });
  const { room } = await rooms.create(call, create(CreateRoomRequestSchema, { name: "Yard" }));
  const { roomId } = room;
  await rooms.addMember(call, create(AddRoomMemberRequestSchema, { roomId, principal: agent() }));
  const { message } = await messages.post(call, create(PostMessageRequestSchema, { roomId, text: "@bot?" }));
  const { messageId } = message;
  const runId = message.mentions[0]?.runId ?? "";
  /** What was said behind the question. */
  async function answers() {
    const { head } = await log.bounds();
    const posted = [];
    for await (const { event } of log.read(log.subjects.view({ workspaceId, roomId }), message.position, head)) {
      if (event.payload.case === "messagePosted") posted.push({ ...event.payload.value, actor: event.actor });
    }
    return posted;
  }
  function end(output: string) {
    const run = runs.get(runId) ?? create(RunSchema);
    runs.set(runId, { ...run, status: RunStatus.SUCCEEDED, output: jsonValue(output) });
  }
  return { rooms, messages, reactions, faults, creations, answers, end, roomId, messageId, runId };
}

const nameOf = (principal: Principal | undefined) =>
  principal && [principal, ...principal.onBehalfOf].map(({ id }) => id);

test("a call creates the run that the message names, for who asked", async () => {
  const { reactions, creations, messageId, runId, roomId } = await setUp();
  await reactions.callAgents(workspaceId, messageId, signal);
  await reactions.callAgents(workspaceId, messageId, signal);
  expect(creations).toHaveLength(1);
  const { call: made, request } = creations[0]!;
  expect(runIdOf(workspaceId, request.requestId)).toBe(runId);
  expect(request).toMatchObject({ agentId, roomId, messageId, threadId: "" });
  expect(valueToJson(request.input)).toEqual({ text: "@bot?", author: "user:alice", messageId, roomId });
  expect(nameOf(made.principal)).toEqual(["signalbox", "alice"]);
  expect(made.correlationId).toBe("corr_1");
});

const away = () => {
  throw new SignalboxError("STORE_UNAVAILABLE", "away");
};

test.each(["before", "after"])(
  "a creation that breaks off %s it is on record is repeated without a second run",
  async (when) => {
    const { reactions, faults, creations, messageId, answers } = await setUp();
    if (when === "before") faults.refuse = away;
    else faults.lose = away;
    await expect(reactions.callAgents(workspaceId, messageId, signal)).rejects.toThrow("away");
    expect(await answers()).toEqual([]);
    delete faults.refuse;
    delete faults.lose;
    await reactions.callAgents(workspaceId, messageId, signal);
    expect(creations).toHaveLength(1);
  },
);

test("a refusal for good is said once, in the place of the answer", async () => {
  const { reactions, faults, creations, messageId, runId, answers } = await setUp();
  faults.refuse = () => {
    throw new SignalboxError("INVALID_STATE", "no");
  };
  await reactions.callAgents(workspaceId, messageId, signal);
  await reactions.callAgents(workspaceId, messageId, signal);
  expect(creations).toEqual([]);
  expect(await answers()).toMatchObject([{ text: "The run could not be started: INVALID_STATE: no", runId }]);
});

test("nobody is called by a redacted message, in an archived room, or by a message that is not there", async () => {
  const redacted = await setUp();
  await redacted.messages.redact(call, {
    $typeName: "signalbox.v1.RedactMessageRequest",
    messageId: redacted.messageId,
    reason: "",
  });
  await redacted.reactions.callAgents(workspaceId, redacted.messageId, signal);
  await redacted.reactions.callAgents(workspaceId, "msg_1", signal);
  const archived = await setUp();
  await archived.rooms.archive(call, archived.roomId);
  await archived.reactions.callAgents(workspaceId, archived.messageId, signal);
  expect([...redacted.creations, ...archived.creations]).toEqual([]);
});

test("an answer is posted once, by the agent, and not before the run's end", async () => {
  const { reactions, messageId, runId, answers, end } = await setUp();
  await reactions.callAgents(workspaceId, messageId, signal);
  await reactions.answer(workspaceId, runId);
  expect(await answers()).toEqual([]);
  end("yes");
  await Promise.all([reactions.answer(workspaceId, runId), reactions.answer(workspaceId, runId)]);
  end("something else");
  await reactions.answer(workspaceId, runId);
  const posted = await answers();
  expect(posted).toMatchObject([{ text: "yes", runId, replyToMessageId: messageId, mentionDepth: 1 }]);
  expect(posted[0]?.actor?.type).toBe(PrincipalType.AGENT);
  expect(nameOf(posted[0]?.actor)).toEqual([agentId, "signalbox", "alice"]);
});

test("an answer to nothing is none", async () => {
  const { reactions, messages, roomId, answers } = await setUp();
  await reactions.answer(workspaceId, "run_unknown");
  const to = create(MessageSchema, { messageId: "msg_1", roomId });
  await messages.answer(call, to, "run_1", { text: "hi", mayCall: true });
  expect(await answers()).toMatchObject([{ text: "hi", replyToMessageId: "msg_1" }]);
});
