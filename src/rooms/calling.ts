import { create } from "@bufbuild/protobuf";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { type Mention, MentionSchema, type Message, type RoomMember } from "../../gen/signalbox/v1/room_pb.ts";
import { principalName } from "../kernel/principal.ts";
import { mentionedIn } from "./mentions.ts";

/** From so many answers of agents in a row on, agents are not called any more. */
const maxMentionDepth = 8;

/**
 * The depth of an answer to the message. One of several that the message has called for counts for more than one: agents
 * who all call each other would else have 3 · 2⁷ runs of three of them, and 20 · 19⁷ of twenty. So it is 45 of three, and
 * fewer than a thousand whoever calls whom.
 */
export function answerDepth({ mentions, mentionDepth }: Pick<Message, "mentions" | "mentionDepth">): number {
  const called = mentions.filter(({ runId }) => runId !== "").length;
  return mentionDepth + 1 + Math.ceil(Math.log2(Math.max(called, 1)));
}

/** A text and what decides whom it calls. */
export interface Calling {
  readonly text: string;
  /** Of the room. */
  readonly members: Iterable<RoomMember>;
  /** Who says it, as `user:alice`; their own handle calls nobody. */
  readonly author: string;
  readonly mentionDepth: number;
  /** Whether agents get runs at all. */
  readonly callsAgents: boolean;
  /** The run that the mention of an agent creates. */
  readonly runIdOf: (agentId: string) => string;
}

/** Whom the text calls; `refused` when that is agents who get no run, because there were too many answers in a row. */
export function calledBy(calling: Calling): { readonly mentions: Mention[]; readonly refused: boolean } {
  const { text, members, author, mentionDepth, callsAgents, runIdOf } = calling;
  const others = [...members].filter(({ principal }) => principal && principalName(principal) !== author);
  const tooDeep = mentionDepth >= maxMentionDepth;
  let refused = false;
  const mentions = mentionedIn(text, others).map(({ handle, principal }) => {
    const agentId = callsAgents && principal?.type === PrincipalType.AGENT ? principal.id : "";
    if (agentId !== "" && tooDeep) refused = true;
    return create(MentionSchema, { handle, principal, runId: agentId === "" || tooDeep ? "" : runIdOf(agentId) });
  });
  return { mentions, refused };
}

/** The request_id under which the mention of an agent creates its run: once, however often it is tried. */
export function mentionRequestId(messageId: string, agentId: string): string {
  return `mention:${messageId}:${agentId}`;
}
