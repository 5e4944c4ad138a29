import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { type ClientOptions, createSignalboxClient, follow } from "../../src/client/client.ts";
import { fakeEvents, type Move } from "./fake-events.ts";

/** Ways to break the connections of a server. */
const breaks = {
  reset: (socket: Socket) => socket.resetAndDestroy(),
  destroy: (socket: Socket) => socket.destroy(),
  end: (socket: Socket) => socket.end(),
};

const lines: ClientOptions[] = [
  { protocol: "connect", httpVersion: "2" },
  { protocol: "grpc", httpVersion: "2" },
  { protocol: "grpc-web", httpVersion: "2" },
  { protocol: "connect", httpVersion: "1.1" },
  { protocol: "grpc-web", httpVersion: "1.1" },
];
const cases = lines.flatMap((line) =>
  Object.entries(breaks).map(([how, cut]) => ({
    ...line,
    how,
    cut,
    name: `${line.protocol} over ${line.httpVersion}`,
  })),
);

test.each(cases)("$name: every event comes once and in order, although connections break by $how", async (example) => {
  const { protocol, httpVersion, cut } = example;
  const sockets = new Set<Socket>();
  const { routes, requests } = fakeEvents(function* ({ fromPosition }, connection): Generator<Move> {
    const last = BigInt((connection + 1) * 3);
    for (let event = fromPosition + 1n; event <= last; event++) yield { event };
    if (connection === 4) return;
    // Every second one breaks in the middle of the next frame; what was sent before may or may not arrive.
    yield { call: () => new Promise((resolve) => void setTimeout(resolve, 10 * (connection % 2))) };
    yield { call: () => sockets.forEach(cut) };
    yield { silence: true };
  });
  const handler = connectNodeAdapter({ routes });
  const server: Server = httpVersion === "2" ? createHttp2Server(handler) : createServer(handler);
  server.on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createSignalboxClient({ baseUrl, protocol, httpVersion });
  const seen: bigint[] = [];
  for await (const { position } of follow(client)) seen.push(position);
  expect(seen).toEqual(Array.from({ length: 15 }, (_, index) => BigInt(index + 1)));
  expect(requests).toHaveLength(5);
  client.close();
  server.close();
});
