import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { PrincipalSchema } from "../../gen/signalbox/v1/common_pb.ts";
import {
  type ClaimRunRequest,
  HeartbeatResponseSchema,
  type ReleaseRunRequest,
  WorkRequestSchema,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import { RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import type { Call } from "../../src/kernel/call.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { sleep } from "../../src/kernel/wait.ts";
import type { ClaimAnswer } from "../../src/runs/claim-response.ts";
import type { EngineCalls } from "../../src/runs/engine-calls.ts";
import { workStream } from "../../src/runs/work-stream.ts";
import { until } from "../support/until.ts";

type Incoming = MessageInitShape<typeof WorkRequestSchema>;

/** A Work stream without a server: its engine is the test's. */
function openStream(calls: Partial<EngineCalls> = {}) {
  const leaving = new AbortController();
  const draining = new AbortController();
  const claims: PromiseWithResolvers<ClaimAnswer>[] = [];
  const released: string[] = [];
  const incoming: Incoming[] = [{ request: { case: "want", value: { claim: { handlers: ["h"], workerId: "w" } } } }];
  let closed = false;
  let wake = () => {};
  let read = 0;

  async function* requests() {
    for (;;) {
      const next = incoming.shift();
      if (next !== undefined) {
        read++;
        yield create(WorkRequestSchema, next);
      } else if (closed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  const call: Call = {
    workspaceId: "ws_a",
    principal: create(PrincipalSchema),
    correlationId: "c",
    traceparent: "",
    signal: leaving.signal,
  };
  const engine = {
    claim(_call: Call, _request: ClaimRunRequest, giveUp: AbortSignal) {
      const claim = Promise.withResolvers<ClaimAnswer>();
      claims.push(claim);
      giveUp.addEventListener("abort", () => claim.resolve({}));
      return claim.promise;
    },
    release(_call: Call, { leaseToken }: ReleaseRunRequest) {
      released.push(leaseToken);
      return Promise.resolve({ run: create(RunSchema), position: 1n });
    },
  };
  const deps = { engine, calls: calls as EngineCalls, draining: draining.signal, log: pino({ level: "silent" }) };
  const serving = {
    call,
    check: () => {},
    innerCall: <T>(_m: unknown, _r: unknown, serve: () => Promise<T>) => serve(),
  };
  return {
    answers: workStream(deps, requests(), serving),
    claims,
    released,
    leaving,
    draining,
    /** How many messages have been read. */
    read: () => read,
    send(...messages: Incoming[]) {
      incoming.push(...messages);
      wake();
    },
    close() {
      closed = true;
      wake();
    },
  };
}

const want = (runs: number): Incoming => ({ request: { case: "want", value: { runs } } });
const beat = (call: bigint): Incoming => ({ call, request: { case: "heartbeat", value: { leaseToken: "t" } } });
const run = (leaseToken: string): ClaimAnswer => ({ run: create(RunSchema), leaseToken });

test("a run that was claimed when the worker had left is given back", async () => {
  const stream = openStream();
  const next = stream.answers.next();
  stream.send(want(1));
  await until(() => stream.claims.length === 1, { what: "a claim" });
  stream.claims[0]?.resolve(run("late"));
  stream.leaving.abort();
  expect((await next).done).toBe(true);
  await until(() => stream.released.length > 0, { what: "the release" });
  expect(stream.released).toEqual(["late"]);
});

test("a run that could not be written is given back, with those behind it", async () => {
  const stream = openStream();
  const next = stream.answers.next();
  stream.send(want(2));
  await until(() => stream.claims.length === 2, { what: "the claims" });
  stream.claims[0]?.resolve(run("first"));
  stream.claims[1]?.resolve(run("second"));
  expect((await next).value).toMatchObject({ response: { case: "run", value: { leaseToken: "first" } } });
  await stream.answers.return();
  await until(() => stream.released.length === 2, { what: "both releases" });
  expect(stream.released).toEqual(["first", "second"]);
});

test("a run that was taken is not given back", async () => {
  const stream = openStream();
  const next = stream.answers.next();
  stream.send(want(1));
  await until(() => stream.claims.length === 1, { what: "a claim" });
  stream.claims[0]?.resolve(run("taken"));
  await next;
  const after = stream.answers.next();
  stream.leaving.abort();
  expect((await after).done).toBe(true);
  expect(stream.released).toEqual([]);
});

test("claims run ahead of what the worker takes by a few, however many it wants", async () => {
  const stream = openStream();
  const next = stream.answers.next();
  stream.send(want(1_000));
  await until(() => stream.claims.length === 16, { what: "the claims" });
  for (const claim of stream.claims) claim.resolve(run("x"));
  await next;
  expect(stream.claims).toHaveLength(16);
  await stream.answers.next();
  await until(() => stream.claims.length === 17, { what: "one more" });
  await stream.answers.return();
});

test("the stream is not read on while a hundred calls are under way", async () => {
  const gate = Promise.withResolvers<void>();
  const heartbeat = vi.fn<EngineCalls["heartbeat"]>(async () => {
    await gate.promise;
    return create(HeartbeatResponseSchema);
  });
  const stream = openStream({ heartbeat });
  const next = stream.answers.next();
  stream.send(...Array.from({ length: 250 }, (_, n) => beat(BigInt(n + 1))));
  await until(() => heartbeat.mock.calls.length === 100, { what: "a hundred calls" });
  // The want, the calls, and the one that waits.
  await until(() => stream.read() === 102, { what: "one more to be read" });
  gate.resolve();
  await next;
  let answered = 1;
  stream.close();
  for await (const { call } of stream.answers) if (call !== 0n) answered++;
  expect(answered).toBe(250);
});

test("a server that drains says so, claims no more, and answers until the worker closes", async () => {
  const stream = openStream({ heartbeat: async () => create(HeartbeatResponseSchema) });
  const next = stream.answers.next();
  stream.send(want(1));
  await until(() => stream.claims.length === 1, { what: "a claim" });
  stream.draining.abort();
  expect((await next).value).toMatchObject({ response: { case: "draining" } });
  stream.send(want(5), beat(9n));
  expect((await stream.answers.next()).value).toMatchObject({ call: 9n, response: { case: "heartbeat" } });
  expect(stream.claims).toHaveLength(1);
  stream.close();
  expect((await stream.answers.next()).done).toBe(true);
});

test("a claim that fails five times running ends the stream, and no sooner", async () => {
  const stream = openStream();
  const next = stream.answers.next();
  stream.send(want(1));
  for (let n = 0; n < 5; n++) {
    await until(() => stream.claims.length === n + 1, { what: "a claim" });
    stream.claims[n]?.reject(new SignalboxError("STORE_UNAVAILABLE", "the store is away"));
  }
  await expect(next).rejects.toThrow("the store is away");
});

test("a stream that the worker closes ends once everything is answered", async () => {
  const gate = Promise.withResolvers<void>();
  const stream = openStream({
    heartbeat: async () => {
      await gate.promise;
      return create(HeartbeatResponseSchema);
    },
  });
  const next = stream.answers.next();
  stream.send(want(1), beat(1n));
  stream.close();
  await until(() => stream.claims.length === 1, { what: "a claim" });
  gate.resolve();
  expect((await next).value).toMatchObject({ call: 1n });
  expect((await stream.answers.next()).done).toBe(true);
});

test("a worker that leaves while it takes no answers and more calls wait than are served at once holds up nobody", async () => {
  const heartbeat = vi.fn<EngineCalls["heartbeat"]>();
  heartbeat.mockResolvedValueOnce(create(HeartbeatResponseSchema)).mockReturnValue(new Promise(() => {}));
  const stream = openStream({ heartbeat });
  const next = stream.answers.next();
  stream.send(...Array.from({ length: 101 }, (_, n) => beat(BigInt(n + 1))));
  await next;
  await until(() => stream.read() === 102, { what: "all calls to be read" });
  stream.leaving.abort();
  // A loop that waits for nothing would let no timer run.
  await expect(sleep(1)).resolves.toBeUndefined();
  await stream.answers.return();
});
