import { Code, type ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { follow, type FollowOptions, type RunDelta, type SignalboxClient } from "../../src/client/client.ts";
import { SignalboxError, toConnectError } from "../../src/kernel/errors.ts";
import { broken, fakeEvents, type Move } from "./fake-events.ts";

// Pauses pass at once: what is tested is what comes before and after them.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }).setTimerTickMode("nextTimerAsync"));
afterEach(() => void vi.useRealTimers());

async function positions(client: SignalboxClient, options?: FollowOptions): Promise<bigint[]> {
  const seen: bigint[] = [];
  for await (const { position } of follow(client, options)) seen.push(position);
  return seen;
}

const draining = () => toConnectError(new SignalboxError("DRAINING", "this server is shutting down"));

/** The events of a log after a position, as a server sends them, broken off after `count` frames. */
function* replay(log: readonly Move[], from: bigint, count: number, fail: ConnectError): Generator<Move> {
  let left = count;
  for (const move of log) {
    if (left-- <= 0) yield { fail };
    if ("event" in move && move.event <= from) continue;
    yield move;
  }
}

test("events come in order until the server ends the stream", async () => {
  const { client, requests } = fakeEvents(() => [{ event: 3n }, { event: 7n }]);
  expect(await positions(client, { filter: { types: ["run.*"] }, fromPosition: 2n })).toEqual([3n, 7n]);
  expect(requests).toMatchObject([{ filter: { types: ["run.*"] }, fromPosition: 2n }]);
});

test("a break is resumed after the last event, or the last heartbeat when that is later", async () => {
  const { client, requests } = fakeEvents((_, connection) =>
    connection === 0
      ? [{ event: 3n }, { fail: draining() }]
      : connection === 1
        ? [{ event: 5n }, { heartbeat: 90n }, { fail: broken() }]
        : [{ event: 91n }],
  );
  expect(await positions(client)).toEqual([3n, 5n, 91n]);
  expect(requests.map(({ fromPosition }) => fromPosition)).toEqual([0n, 3n, 90n]);
});

test("a heartbeat behind the last event does not move the position back", async () => {
  const { client, requests } = fakeEvents((_, connection) =>
    connection === 0 ? [{ event: 5n }, { heartbeat: 4n }, { fail: broken() }] : [{ event: 5n }, { event: 6n }],
  );
  expect(await positions(client)).toEqual([5n, 6n]);
  expect(requests[1]?.fromPosition).toBe(5n);
});

test("wherever connections break, every event comes once and in order", async () => {
  const position = fc.bigInt({ min: 1n, max: 500n });
  const codes = [Code.Unavailable, Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown, Code.DeadlineExceeded];
  const breaks = fc.array(fc.record({ after: fc.nat(12), code: fc.constantFrom(...codes) }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(position, { maxLength: 20 }),
      fc.array(position, { maxLength: 5 }),
      breaks,
      position,
      async (eventPositions, heartbeats, plan, fromPosition) => {
        const events = eventPositions.map((event): Move => ({ event }));
        const moves = [...events, ...heartbeats.map((heartbeat): Move => ({ heartbeat }))].toSorted(byPosition);
        const { client } = fakeEvents((request, connection) => {
          const { after, code } = plan[connection] ?? { after: Infinity, code: Code.Unavailable };
          return replay(moves, request.fromPosition, after, broken(code));
        });
        const wanted = eventPositions.filter((event) => event > fromPosition).toSorted((a, b) => Number(a - b));
        expect(await positions(client, { fromPosition })).toEqual(wanted);
      },
    ),
    { numRuns: 300 },
  );
});

function byPosition(a: Move, b: Move): number {
  const at = (move: Move) => Number("event" in move ? move.event : "heartbeat" in move ? move.heartbeat : 0n);
  // A heartbeat says that everything up to its position was sent, so it comes after the event there.
  return at(a) - at(b) || ("heartbeat" in a ? 1 : 0) - ("heartbeat" in b ? 1 : 0);
}

test("pauses between tries grow to 5 s and start again after a sign of life", async () => {
  const pauses: number[] = [];
  const { client } = fakeEvents((_, connection) => {
    if (connection === 12) return [{ heartbeat: 1n }, { fail: broken() }];
    return connection < 14 ? [{ fail: broken() }] : [];
  });
  await positions(client, { onRetry: (_, delayMs) => pauses.push(delayMs) });
  expect(pauses).toHaveLength(14);
  const full = [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 100, 200];
  for (const [index, fullMs] of full.entries()) {
    expect(pauses[index]).toBeGreaterThan(fullMs / 2 - 1);
    expect(pauses[index]).toBeLessThanOrEqual(fullMs);
  }
});

test("a connection with a sign of life every 30 s is kept", async () => {
  const retried: unknown[] = [];
  const pause = { call: () => new Promise((resolve) => void setTimeout(resolve, 30_000)) };
  const { client, requests } = fakeEvents(() => [1n, 2n, 3n, 4n].flatMap((event): Move[] => [pause, { event }]));
  expect(await positions(client, { onRetry: (error) => retried.push(error) })).toEqual([1n, 2n, 3n, 4n]);
  expect(retried).toEqual([]);
  expect(requests).toHaveLength(1);
});

test("a connection that falls silent is given up and resumed", async () => {
  const errors: unknown[] = [];
  const { client, requests } = fakeEvents((_, connection) =>
    connection === 0 ? [{ event: 3n }, { silence: true }] : [{ event: 4n }],
  );
  expect(await positions(client, { onRetry: (error) => errors.push(error) })).toEqual([3n, 4n]);
  expect(errors).toMatchObject([{ rawMessage: "no sign of life for 45000 ms" }]);
  expect(requests).toHaveLength(2);
});

test("output comes beside the events, and after a break only what was not seen before", async () => {
  const delta = (index: number, text: string, joined = 0, attempt = 1): Move => ({
    delta: { runId: "run_1", attempt, joined, delta: { stepKey: "answer", index, text } },
  });
  const { client, requests } = fakeEvents((_, connection) =>
    connection === 0
      ? [delta(0, "a"), { event: 3n }, delta(2, "bc", 1), { fail: broken() }]
      : [delta(2, "abc", 2), delta(1, "b"), delta(3, "d"), delta(0, "A", 0, 2), { event: 4n }],
  );
  const shown: string[] = [];
  const onDelta = ({ attempt, delta: made }: RunDelta) => void shown.push(`${attempt}:${made?.text}`);
  expect(await positions(client, { onDelta })).toEqual([3n, 4n]);
  expect(shown).toEqual(["1:a", "1:bc", "1:d", "2:A"]);
  expect(requests.map(({ includeDeltas }) => includeDeltas)).toEqual([true, true]);
});

test("output is not asked for when nobody takes it", async () => {
  const { client, requests } = fakeEvents(() => [{ event: 1n }]);
  expect(await positions(client)).toEqual([1n]);
  expect(requests).toMatchObject([{ includeDeltas: false }]);
});

test.each([
  ["RUN_NOT_FOUND", "run run_x does not exist"],
  ["POSITION_EXPIRED", "positions before 80 are not kept"],
  ["POSITION_IN_FUTURE", "the log ends at 7"],
  ["UNAUTHENTICATED", "give a token"],
] as const)("%s is thrown, not tried again", async (reason, message) => {
  const { client, requests } = fakeEvents(() => [{ fail: toConnectError(new SignalboxError(reason, message)) }]);
  await expect(positions(client)).rejects.toMatchObject({ rawMessage: message });
  expect(requests).toHaveLength(1);
});

test("an aborted signal ends the iteration without an error", async () => {
  const stop = new AbortController();
  const { client } = fakeEvents(() => [{ event: 1n }, { silence: true }]);
  const seen: bigint[] = [];
  for await (const { position } of follow(client, { signal: stop.signal, silenceTimeoutMs: 2 ** 31 - 1 })) {
    seen.push(position);
    queueMicrotask(() => stop.abort());
  }
  expect(seen).toEqual([1n]);
  expect(await positions(client, { signal: AbortSignal.abort() })).toEqual([]);
});

test("a reader who leaves ends the call", async () => {
  const { client, signals } = fakeEvents(() => [{ event: 1n }, { silence: true }]);
  for await (const { position } of follow(client, { silenceTimeoutMs: 2 ** 31 - 1 })) {
    expect(position).toBe(1n);
    break;
  }
  await vi.waitFor(() => expect(signals[0]?.aborted).toBe(true));
});

test("an error of the reader is the reader's, even when it looks like a broken connection", async () => {
  const { client, requests } = fakeEvents(() => [{ event: 1n }, { event: 2n }]);
  const events = follow(client);
  await events.next();
  await expect(events.throw(broken())).rejects.toThrow("the connection broke");
  expect(requests).toHaveLength(1);
});
