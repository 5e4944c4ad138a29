import type { MessageInitShape } from "@bufbuild/protobuf";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Message, Room } from "../../gen/signalbox/v1/room_pb.ts";
import type { CreateRoomRequestSchema } from "../../gen/signalbox/v1/room_service_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { type Installation, newWorkspaceId } from "../support/installation.ts";
import { headPosition } from "../e2e/subscribed.ts";

/** A workspace and those who call in it. */
export interface Workspace {
  readonly workspaceId: string;
  /** A client of a person. */
  as(id: string): SignalboxClient;
}

/** A workspace that no other test uses. */
export function newWorkspace(installation: Installation): Workspace {
  const workspaceId = newWorkspaceId();
  return { workspaceId, as: (id) => installation.client({ workspaceId, onBehalfOf: `user:${id}` }) };
}

/** A room, of which the caller is the first member. */
export async function createRoom(
  client: SignalboxClient,
  request: MessageInitShape<typeof CreateRoomRequestSchema> = {},
): Promise<Room> {
  const { room } = await client.rooms.createRoom({ name: "Yard", ...request });
  if (room === undefined) throw new Error("CreateRoom answered without a room");
  return room;
}

/** Lets people take part, by their ids. */
export async function addPeople(client: SignalboxClient, roomId: string, ...ids: string[]): Promise<void> {
  for (const id of ids) await client.rooms.addRoomMember({ roomId, principal: { type: PrincipalType.USER, id } });
}

/** Creates an agent of a handler and lets it take part. Returns its id. */
export async function addAgent(client: SignalboxClient, roomId: string, name: string, handler = name): Promise<string> {
  const { agent } = await client.agents.createAgent({ name, handler });
  const agentId = agent?.agentId ?? "";
  await client.rooms.addRoomMember({ roomId, principal: { type: PrincipalType.AGENT, id: agentId } });
  return agentId;
}

/** Says something in a room. */
export async function say(client: SignalboxClient, roomId: string, text: string, threadId = ""): Promise<Message> {
  const { message } = await client.rooms.postMessage({ roomId, text, threadId });
  if (message === undefined) throw new Error("PostMessage answered without a message");
  return message;
}

/** Everything that was said in a room up to now, oldest first. */
export async function messagesOf(client: SignalboxClient, roomId: string): Promise<Message[]> {
  const minPosition = await headPosition(client);
  const messages: Message[] = [];
  for (let pageToken = ""; ;) {
    const page = await client.rooms.listMessages({ roomId, minPosition, pageToken, pageSize: 200 });
    messages.push(...page.messages);
    if (page.nextPageToken === "") return messages;
    pageToken = page.nextPageToken;
  }
}
