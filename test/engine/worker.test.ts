import { Code, ConnectError } from "@connectrpc/connect";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { jsonValue } from "../../src/client/client.ts";
import { createWorker, HandlerError, type RunStoppedError, type WorkerLog } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { type FakeEngine, fakeEngine, refusal } from "./fake-engine.ts";
import { startWorker } from "./running.ts";

const away = new ConnectError("connect ECONNREFUSED", Code.Unavailable);
const one = { a: () => 1 };
const never = new Promise<never>(() => {});

/** Resolves with the cause when the signal aborts. */
function stopped(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve((signal.reason as RunStoppedError).why), { once: true });
  });
}

test("what a handler returns is the run's output", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: { double: (_ctx, input) => ({ twice: Number(input) * 2 }) } });
  const run = engine.submit({ handler: "double", input: jsonValue(21) });
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: { twice: 42 } });
  expect(engine.callsOf("completeRun")).toHaveLength(1);
});

test("a handler that returns nothing leaves the output unset", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: { quiet: () => {} } });
  expect(await engine.ended(engine.submit({ handler: "quiet" }))).toMatchObject({
    status: "SUCCEEDED",
    output: undefined,
  });
});

test("the claim names the worker, its queues and its handlers", async () => {
  const engine = fakeEngine();
  const { worker } = startWorker(engine, { handlers: { a: () => 1, b: () => 2 }, queues: ["fast"], workerId: "w1" });
  await until(() => engine.callsOf("claimRun")[0], { what: "a claim" });
  expect(engine.callsOf("claimRun")[0]?.request).toMatchObject({
    workerId: "w1",
    queues: ["fast"],
    handlers: ["a", "b"],
  });
  expect(worker.workerId).toBe("w1");
});

test.each([
  ["an Error", new Error("disk full"), { code: "HANDLER_ERROR", message: "disk full", retryable: true }],
  ["an Error without a message", new RangeError(""), { code: "HANDLER_ERROR", message: "RangeError", retryable: true }],
  [
    "a HandlerError",
    new HandlerError("NO_FUNDS", "account is empty", { retryable: false }),
    { code: "NO_FUNDS", message: "account is empty", retryable: false },
  ],
  ["a string", "oops", { message: "the handler threw 'oops', which is no Error", retryable: true }],
  ["undefined", undefined, { message: "the handler threw undefined, which is no Error", retryable: true }],
])("%s that a handler throws is the run's error", async (_what, cause: unknown, error) => {
  const engine = fakeEngine();
  const told: unknown[] = [];
  const bad = () => {
    throw cause;
  };
  startWorker(engine, { handlers: { bad }, onError: (thrown) => told.push(thrown) });
  const run = engine.submit({ handler: "bad", retryPolicy: { maxAttempts: 1 } });
  expect(await engine.ended(run)).toMatchObject({ status: "FAILED", error });
  expect(told).toEqual([cause]);
});

test("a failure that may pass is tried again", async () => {
  const engine = fakeEngine();
  startWorker(engine, {
    handlers: {
      second: ({ attempt }) => {
        if (attempt === 1) throw new Error("not yet");
        return attempt;
      },
    },
  });
  expect(await engine.ended(engine.submit({ handler: "second" }))).toMatchObject({ status: "SUCCEEDED", output: 2 });
});

test("an output that JSON does not have fails the run for good", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: { dates: () => ({ at: [new Date(0)] }) } });
  const run = engine.submit({ handler: "dates" });
  expect(await engine.ended(run)).toMatchObject({
    status: "FAILED",
    error: {
      code: "OUTPUT_NOT_SERIALIZABLE",
      message: "the output.at[0] is a Date; give a plain object, an array or a string made from it",
      retryable: false,
    },
  });
});

test("an output that the server finds too large fails the run for good", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }) => {
    if (method === "completeRun") throw refusal("PAYLOAD_TOO_LARGE", "the output has 9 bytes of at most 8");
  };
  startWorker(engine, { handlers: { large: () => "x" } });
  expect(await engine.ended(engine.submit({ handler: "large" }))).toMatchObject({
    status: "FAILED",
    error: { code: "PAYLOAD_TOO_LARGE", message: "the output has 9 bytes of at most 8", retryable: false },
  });
});

test("an error message over 50,000 characters says how long it was and that it is cut", async () => {
  const engine = fakeEngine();
  startWorker(engine, {
    handlers: {
      chatty: () => {
        throw new Error("😀".repeat(40_000));
      },
    },
  });
  const { error } = await engine.ended(engine.submit({ handler: "chatty", retryPolicy: { maxAttempts: 1 } }));
  const { message } = error as { message: string };
  expect(message).toMatch(
    /^this error message had 80000 characters, more than the 50000 that are kept; it begins:\n😀/u,
  );
  expect(message).toMatch(/\n\[truncated\]$/);
  expect(message.length).toBeLessThanOrEqual(50_000);
  expect(message.isWellFormed()).toBe(true);
});

test("the outcome is written again until it gets through", async () => {
  const engine = fakeEngine();
  let failures = 3;
  engine.fault = ({ method }, when) => {
    if (method === "completeRun" && when === "before" && failures-- > 0) throw away;
  };
  startWorker(engine, { handlers: { echo: (_ctx, input) => input } });
  expect(await engine.ended(engine.submit({ handler: "echo", input: jsonValue(1) }))).toMatchObject({ output: 1 });
  expect(engine.callsOf("completeRun")).toHaveLength(4);
});

test("an outcome that does not get through within another lease is given up, and the slot is free again", async () => {
  const engine = fakeEngine(90);
  engine.fault = ({ method }) => {
    if (method === "completeRun") throw away;
  };
  startWorker(engine, { handlers: { echo: (_ctx, input) => input }, concurrency: 1 });
  engine.submit({ handler: "echo" });
  await until(() => engine.callsOf("claimRun").length === 2, { what: "the next claim" });
  expect(engine.callsOf("heartbeat")).toEqual([]);
  expect(engine.callsOf("completeRun").length).toBeGreaterThan(1);
});

test("heartbeats are sent every third of the lease while the handler runs, and none after", async () => {
  const engine = fakeEngine(90);
  let finish = () => {};
  startWorker(engine, { handlers: { slow: () => new Promise<void>((resolve) => (finish = resolve)) } });
  const run = engine.submit({ handler: "slow" });
  await until(() => engine.callsOf("heartbeat").length >= 4, { what: "heartbeats" });
  finish();
  await engine.ended(run);
  const sent = engine.callsOf("heartbeat").length;
  const other = engine.submit({ handler: "slow" });
  await until(() => engine.callsOf("heartbeat").length > sent, { what: "a heartbeat of the next run" });
  expect(engine.callsOf("heartbeat").at(-1)?.request).toMatchObject({ leaseToken: other.leaseToken });
  finish();
});

test("heartbeats that fail are repeated while the lease can still hold", async () => {
  const engine = fakeEngine(300);
  let failures = 2;
  engine.fault = ({ method }) => {
    if (method === "heartbeat" && failures-- > 0) throw away;
  };
  startWorker(engine, {
    handlers: {
      slow: async ({ signal }) => {
        await until(() => engine.callsOf("heartbeat").length >= 4, { what: "heartbeats" });
        return signal.aborted;
      },
    },
  });
  expect(await engine.ended(engine.submit({ handler: "slow" }))).toMatchObject({ status: "SUCCEEDED", output: false });
});

test.each([
  ["canceled", (engine: FakeEngine, run: ReturnType<FakeEngine["submit"]>) => engine.cancel(run)],
  ["lease_lost", (engine: FakeEngine, run: ReturnType<FakeEngine["submit"]>) => engine.takeOver(run)],
])("a run that is %s under the handler aborts its signal, and nothing is written any more", async (why, happen) => {
  const engine = fakeEngine(60);
  let seen: unknown;
  startWorker(engine, {
    handlers: {
      slow: async (ctx) => {
        const cause = await stopped(ctx.signal);
        await ctx.step("late", () => 1).catch((error: unknown) => (seen = error));
        return cause;
      },
      next: () => 1,
    },
  });
  const run = engine.submit({ handler: "slow" });
  await until(() => engine.callsOf("heartbeat")[0], { what: "a heartbeat" });
  happen(engine, run);
  await until(() => seen, { what: "the late step to be refused" });
  expect(seen).toMatchObject({ name: "RunStoppedError", why });
  // The worker is free again, so the handler's end has been dealt with.
  await engine.ended(engine.submit({ handler: "next" }));
  expect(
    engine.calls.filter(({ method }) => !["claimRun", "heartbeat", "completeRun", "reportWorker"].includes(method)),
  ).toEqual([]);
  expect(engine.callsOf("completeRun")).toHaveLength(1);
});

test("a lease of which nobody can tell any more counts as lost", async () => {
  const engine = fakeEngine(90);
  engine.fault = ({ method }) => {
    if (method === "heartbeat") throw away;
  };
  let why: string | undefined;
  startWorker(engine, { handlers: { slow: async ({ signal }) => (why = await stopped(signal)) } });
  engine.submit({ handler: "slow" });
  expect(await until(() => why, { what: "the signal to abort" })).toBe("lease_lost");
  expect(engine.callsOf("completeRun")).toEqual([]);
});

test("the signal aborts at the run's deadline", async () => {
  const engine = fakeEngine();
  let why: string | undefined;
  startWorker(engine, { handlers: { slow: async ({ signal }) => (why = await stopped(signal)) } });
  engine.submit({ handler: "slow", deadlineTime: timestampFromMs(Date.now() + 50) });
  expect(await until(() => why, { what: "the signal to abort" })).toBe("deadline");
});

test("a deadline that is a month away does not abort the signal", async () => {
  const engine = fakeEngine();
  startWorker(engine, {
    handlers: {
      slow: async ({ signal }) => {
        await new Promise((resolve) => void setTimeout(resolve, 5));
        return signal.aborted;
      },
    },
  });
  const deadlineTime = timestampFromMs(Date.now() + 30 * 86_400_000);
  expect(await engine.ended(engine.submit({ handler: "slow", deadlineTime }))).toMatchObject({ output: false });
});

test("a handler that ignores its signal takes one slot and no more", async () => {
  const engine = fakeEngine(60);
  startWorker(engine, { handlers: { deaf: () => never, echo: (_ctx, input) => input }, concurrency: 2 });
  const deaf = engine.submit({ handler: "deaf" });
  await until(() => deaf.leaseToken, { what: "a claim" });
  engine.cancel(deaf);
  for (const n of [1, 2, 3]) {
    expect(await engine.ended(engine.submit({ handler: "echo", input: jsonValue(n) }))).toMatchObject({ output: n });
  }
});

test("no more runs are at work at once than the concurrency", async () => {
  const engine = fakeEngine();
  let now = 0;
  let most = 0;
  startWorker(engine, {
    concurrency: 3,
    handlers: {
      count: async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => void setTimeout(resolve, 5));
        now--;
      },
    },
  });
  const runs = Array.from({ length: 20 }, () => engine.submit({ handler: "count" }));
  await Promise.all(runs.map((run) => engine.ended(run)));
  expect(most).toBe(3);
});

test("an idle worker has sixteen claims open and no more, whatever its concurrency", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: { a: () => 1 }, concurrency: 100 });
  await until(() => engine.callsOf("claimRun").length === 16, { what: "sixteen claims" });
  await engine.ended(engine.submit({ handler: "a" }));
  expect(engine.callsOf("claimRun")).toHaveLength(17);
});

test("a server that is away is asked again, and said to be away once", async () => {
  const engine = fakeEngine();
  const lines: string[] = [];
  const write = (_fields: object, message: string) => void lines.push(message);
  const log: WorkerLog = { debug() {}, info: write, warn: write, error: write };
  const told: unknown[] = [];
  let failures = 3;
  engine.fault = ({ method }) => {
    if (method === "claimRun" && failures-- > 0) throw away;
  };
  startWorker(engine, { handlers: { a: () => 1 }, concurrency: 1, log, onError: (error) => told.push(error) });
  await engine.ended(engine.submit({ handler: "a" }));
  expect(lines).toEqual(["worker started", "runs can not be claimed; trying again", "claiming runs again"]);
  expect(told).toMatchObject([{ rawMessage: "connect ECONNREFUSED" }]);
});

test("a worker that the server refuses for good lets its runs end, then says why", async () => {
  const engine = fakeEngine();
  let finish = () => {};
  const { running } = startWorker(engine, {
    handlers: { slow: () => new Promise<void>((resolve) => (finish = resolve)) },
  });
  const run = engine.submit({ handler: "slow" });
  await until(() => run.leaseToken, { what: "a claim" });
  engine.fault = ({ method }, when) => {
    if (method === "claimRun" && when === "after") throw refusal("UNAUTHENTICATED", "this token is not known");
  };
  engine.submit({ handler: "slow" });
  await until(() => engine.callsOf("claimRun").length >= 5, { what: "another claim" });
  finish();
  await expect(running).rejects.toMatchObject({ rawMessage: "this token is not known" });
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED" });
});

test("a worker that stops lets running handlers end and takes nothing new", async () => {
  const engine = fakeEngine();
  const stop = new AbortController();
  let finish = () => {};
  const worker = createWorker({
    client: engine.client,
    handlers: { slow: () => new Promise<void>((resolve) => (finish = resolve)) },
  });
  const running = worker.run(stop.signal);
  const run = engine.submit({ handler: "slow" });
  await until(() => run.leaseToken, { what: "a claim" });
  stop.abort();
  const late = engine.submit({ handler: "slow" });
  finish();
  await running;
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED" });
  expect(late.leaseToken).toBe("");
});

test("a handler that has not ended when the drain is over is aborted, and its run given back", async () => {
  const engine = fakeEngine();
  const { worker } = startWorker(engine, { handlers: { deaf: () => never }, drainTimeoutMs: 20 });
  const run = engine.submit({ handler: "deaf" });
  await until(() => run.leaseToken, { what: "a claim" });
  let failures = 1;
  engine.fault = ({ method }) => {
    if (method === "releaseRun" && failures-- > 0) throw away;
  };
  await worker[Symbol.asyncDispose]();
  expect(engine.callsOf("releaseRun").at(-1)?.request).toMatchObject({ reason: "the worker is shutting down" });
  startWorker(engine, { handlers: { deaf: () => "heard" } });
  expect(await engine.ended(run)).toMatchObject({ status: "SUCCEEDED", output: "heard" });
});

test("a worker runs once", async () => {
  const engine = fakeEngine();
  const { worker } = startWorker(engine, { handlers: { a: () => 1 } });
  expect(() => worker.run()).toThrow("a worker runs once");
});

test.each([
  [{ handlers: {} }, "a worker has 1 to 100 handlers; got 0"],
  [{ handlers: { "a b": () => 1 } }, '"a b" in handlers does not match'],
  [{ handlers: one, queues: ["a:b"] }, '"a:b" in queues does not match'],
  [{ handlers: one, queues: [] }, "a worker has 1 to 20 queues; got 0"],
  [{ handlers: one, concurrency: 0 }, "concurrency is a whole number from 1 to 10000; got 0"],
  [{ handlers: one, workerId: "" }, "workerId has 1 to 200 characters; got 0"],
])("options that make no sense are refused: %#", (options, message) => {
  expect(() => createWorker({ baseUrl: "http://127.0.0.1:1", ...options })).toThrow(message);
});
