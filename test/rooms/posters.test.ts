import { afterAll, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { headPosition, subscribed } from "../e2e/subscribed.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { addAgent, addPeople, createRoom, messagesOf, newWorkspace, say } from "./people.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());

const posters = 50;
const each = 4;
const agents = ["planner", "dispatcher"];

test("50 who post at once, on two servers, while two agents answer: one order for all, exact counts for each", async () => {
  const { workspaceId, as } = newWorkspace(installation);
  const alice = as("alice");
  const { roomId } = await createRoom(alice);
  const names = Array.from({ length: posters }, (_, index) => `user_${index}`);
  await addPeople(alice, roomId, ...names);
  for (const agent of agents) await addAgent(alice, roomId, agent, "answers");
  await using _worker = installation.worker({ workspaceId, handlers: { answers: () => "read" } });
  await using feed = await subscribed(alice, { filter: { roomId, types: ["message.posted"] } });
  const clients = names.map((name, index) => {
    const baseUrl = installation.servers[index % 2]?.url ?? "";
    return installation.client({ baseUrl, workspaceId, onBehalfOf: `user:${name}` });
  });
  const positions = await Promise.all(
    clients.map(async (client, index) => {
      const mine: bigint[] = [];
      for (let n = 0; n < each; n++) {
        // Every fifth asks both agents once.
        const calls = index % 5 === 0 && n === 1 ? agents.map((agent) => ` @${agent}`).join("") : "";
        const text = `${index}/${n} @${names[(index + 1) % posters]}${calls}`;
        mine.push((await say(client, roomId, text)).createPosition);
      }
      return mine;
    }),
  );
  const answers = (posters / 5) * agents.length;
  const count = posters * each + answers;
  await until(() => feed.events.length === count, { what: "every message in the feed", timeoutMs: 60_000 });
  const said = feed.events.filter(({ actor }) => actor?.type !== PrincipalType.AGENT).map(({ position }) => position);
  expect(said).toEqual(positions.flat().toSorted((a, b) => Number(a - b)));
  const inLogOrder = feed.events.map(({ position }) => position).toSorted((a, b) => Number(a - b));
  expect(new Set(inLogOrder).size).toBe(count);
  expect(feed.events.map(({ position }) => position)).toEqual(inLogOrder);
  const listed = await messagesOf(alice, roomId);
  expect(listed.map(({ createPosition }) => createPosition)).toEqual(inLogOrder);
  expect(listed.map(({ messageId }) => messageId)).toEqual(feed.events.map(({ stream }) => stream?.id));

  // Everybody has read up to somewhere, each to another place.
  const read = names.map((_, index) => inLogOrder[(index * 7) % inLogOrder.length] ?? 0n);
  await Promise.all(clients.map((client, index) => client.rooms.markRead({ roomId, readPosition: read[index] ?? 0n })));
  const minPosition = await headPosition(alice);
  const found = await Promise.all(clients.map((client) => client.rooms.listUnread({ minPosition })));
  const expected = names.map((_, index) => {
    const behind = (own: readonly bigint[] = []) => own.filter((position) => position > (read[index] ?? 0n)).length;
    const before = positions[(index + posters - 1) % posters];
    return { unread: behind(inLogOrder) - behind(positions[index]), mentions: behind(before) };
  });
  expect(
    found.map(({ rooms: [room] }) => ({ unread: Number(room?.unreadCount), mentions: Number(room?.mentionCount) })),
  ).toEqual(expected);
  expect((await alice.rooms.listUnread({ minPosition })).rooms).toMatchObject([{ unreadCount: BigInt(count) }]);
}, 90_000);
