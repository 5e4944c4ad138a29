import { create, fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Agent } from "../../gen/signalbox/v1/agent_pb.ts";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Mention } from "../../gen/signalbox/v1/room_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { type CreateRunRequest, CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { hasReason, type Reason, SignalboxError } from "../kernel/errors.ts";
import { handlerName, onBehalfOf, signalbox } from "../kernel/principal.ts";
import { answerOf, refusalOf } from "./answer.ts";
import { mentionRequestId } from "./calling.ts";
import { authorOf } from "./message-decider.ts";
import type { KnownMessage } from "./message-state.ts";
import type { Messages } from "./messages.ts";
import type { Rooms } from "./rooms.ts";

/** What rooms ask of runs. */
export interface RoomRuns {
  /** CreateRun, as run_service.proto has it. */
  create(call: Call, request: CreateRunRequest): Promise<unknown>;
  /** The run as it is now, confirmed by the log's leader; undefined when the workspace has none with the id. */
  find(workspaceId: string, runId: string): Promise<Run | undefined>;
}

/** What follows from messages and from the ends of runs. Everything may be repeated: it is done once. */
export interface Reactions {
  /**
   * Creates the runs of the agents that a message calls. One that can not be created is answered with why. Nothing for a
   * redacted message or in an archived room. Throws when it is not known whether a run was created.
   */
  callAgents(workspaceId: string, messageId: string, signal: AbortSignal): Promise<void>;
  /** Posts the answer of a run that has ended; nothing for a run that answers no message. */
  answer(workspaceId: string, runId: string): Promise<void>;
}

/** What reactions need. */
export interface ReactionsDeps {
  readonly rooms: Pick<Rooms, "load">;
  readonly messages: Pick<Messages, "load" | "answer">;
  readonly runs: RoomRuns;
  /** The agent as it is now; undefined when there is none in the workspace. */
  readonly findAgent: (workspaceId: string, agentId: string) => Promise<Agent | undefined>;
}

/** Refusals that may be over at the next try. */
const passing: ReadonlySet<Reason> = new Set(["STORE_UNAVAILABLE", "CONTENTION", "READ_MODEL_BEHIND", "DRAINING"]);

/** Reactions on rooms and runs. */
export function createReactions({ rooms, messages, runs, findAgent }: ReactionsDeps): Reactions {
  async function callAgent(
    workspaceId: string,
    known: KnownMessage,
    mention: Mention,
    signal: AbortSignal,
  ): Promise<void> {
    const { message, correlationId, traceparent } = known;
    const agentId = mention.principal?.id ?? "";
    if ((await runs.find(workspaceId, mention.runId)) !== undefined) return;
    const agent = await findAgent(workspaceId, agentId);
    const principal = onBehalfOf(signalbox, message.createBy === undefined ? [] : [message.createBy]);
    const call = { workspaceId, principal, correlationId, traceparent, signal };
    try {
      await runs.create(call, runRequest(known, agentId, agent));
    } catch (error) {
      // Somebody else was first, and the agent has changed in between.
      if (hasReason(error, "REQUEST_ID_REUSED")) return;
      if (!(error instanceof SignalboxError) || passing.has(error.reason)) throw error;
      const refusal = refusalOf(`${error.reason}: ${error.message}`);
      await messages.answer({ ...call, principal: asAgent(agentId, principal) }, message, mention.runId, refusal);
    }
  }

  return {
    async callAgents(workspaceId, messageId, signal) {
      const known = await messages.load(workspaceId, messageId);
      if (known === undefined || known.status === "redacted") return;
      const room = await rooms.load(workspaceId, known.message.roomId);
      if (room.status !== "active") return;
      const called = known.message.mentions.filter(({ runId }) => runId !== "");
      await Promise.all(called.map((mention) => callAgent(workspaceId, known, mention, signal)));
    },
    async answer(workspaceId, runId) {
      const run = await runs.find(workspaceId, runId);
      const answer = run && answerOf(run);
      if (run === undefined || answer === undefined || run.messageId === "") return;
      const known = await messages.load(workspaceId, run.messageId);
      if (known === undefined) return;
      const principal = run.agentId === "" ? asHandler(run.handler) : asAgent(run.agentId, run.createBy);
      const { correlationId, traceparent } = known;
      await messages.answer({ workspaceId, principal, correlationId, traceparent }, known.message, runId, answer);
    },
  };
}

/** The run that the mention of an agent creates. */
function runRequest({ message, zone }: KnownMessage, agentId: string, agent: Agent | undefined): CreateRunRequest {
  const { messageId, roomId, threadId, text } = message;
  const input = { text, author: authorOf(message), messageId, roomId, ...(threadId === "" ? {} : { threadId }) };
  return create(CreateRunRequestSchema, {
    requestId: mentionRequestId(messageId, agentId),
    agentId,
    roomId,
    threadId,
    messageId,
    input: fromJson(ValueSchema, input),
    // The stricter one.
    zone: agent !== undefined && agent.zone > zone ? agent.zone : zone,
  });
}

function asAgent(agentId: string, creator: Principal | undefined): Principal {
  const agent = create(PrincipalSchema, { type: PrincipalType.AGENT, id: agentId });
  return onBehalfOf(agent, creator === undefined ? [] : [creator]);
}

/** A program speaks for itself: whoever created the run has not said what it answers. */
function asHandler(handler: string): Principal {
  return create(PrincipalSchema, { type: PrincipalType.SERVICE, id: handlerName(handler) });
}
