import { randomBytes } from "node:crypto";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { until } from "../support/until.ts";
import { openTestServer, transports } from "./fixture.ts";

test.each(Object.entries(transports))(
  "what a stream has open is closed when its caller reads no further and goes away, over %s",
  async (_name, createTransport) => {
    let sent = 0;
    let isClosed = false;
    await using server = await openTestServer({
      events: {
        async *subscribe() {
          try {
            for (;;) {
              // What compression makes nothing of.
              yield { frame: { case: "event", value: { correlationId: randomBytes(100_000).toString("base64") } } };
              sent++;
            }
          } finally {
            isClosed = true;
          }
        },
      },
    });
    const gone = new AbortController();
    const client = createClient(EventService, createTransport(server.url));
    const stream = client.subscribe({}, { signal: gone.signal })[Symbol.asyncIterator]();
    await stream.next();
    let before = -1;
    const stands = () => {
      const isStanding = sent === before;
      before = sent;
      return isStanding;
    };
    await until(stands, { what: "the server to wait for its reader", intervalMs: 50 });
    gone.abort();
    await until(() => isClosed, { what: "the stream to be closed" });
    const refused = ConnectError.from(await stream.next().catch((error: unknown) => error));
    expect(refused.code).toBe(Code.Canceled);
  },
);
