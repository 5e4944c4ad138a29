import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createSeeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { allEvents, mostAtOnce, mostBegun } from "./concurrency.ts";
import { openHands } from "./hands.ts";
import { createRun, ended } from "./runs.ts";
import { atTime, someMessage } from "./waiting.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });

type Request = Parameters<SignalboxClient["runs"]["createRun"]>[0];

/** Creates runs all at once; returns their ids. */
function createRuns(client: SignalboxClient, count: number, request: (n: number) => Request): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => createRun(client, request(n))));
}

/** Resolves when everything that happened before has come to the reactors: a run that is created now has been offered. */
async function settled(client: SignalboxClient): Promise<void> {
  const runId = await createRun(client, { handler: "marker", queue: "other" });
  const answer = await client.engine.claimRun({ handlers: ["marker"], queues: ["other"], workerId: "w" });
  expect(answer.run?.runId).toBe(runId);
}

/** Every event of the workspace, once all these runs have succeeded. */
async function eventsOf(client: SignalboxClient, runIds: readonly string[]) {
  const runs = await Promise.all(runIds.map((runId) => ended(client, runId)));
  expect(new Set(runs.map(({ status }) => status))).toEqual(new Set([RunStatus.SUCCEEDED]));
  return allEvents(
    client,
    runs.map(({ position }) => position).reduce((a, b) => (a > b ? a : b)),
  );
}

describe("never more runs at the same time than the limit", () => {
  test("of the queue, whatever they do: wait, fail, pause", async () => {
    const client = newClient();
    await client.queues.putQueue({ queue: { name: "narrow", maxRunning: 3 } });
    const random = createSeeded(7);
    await using _hands = openHands(client, {
      count: 8,
      handlers: ["work"],
      queues: ["narrow"],
      async work({ run, leaseToken }) {
        if (run.attempt > 2) return;
        const what = random.below(5);
        if (what === 0) {
          const conditions = [atTime(Date.now() + 20)];
          return !(await client.engine.suspendRun({ leaseToken, conditions })).suspended;
        }
        if (what === 1) await client.engine.releaseRun({ leaseToken });
        if (what === 2) {
          const error = { code: "FLAKY", message: "again", retryable: true };
          await client.engine.failRun({ leaseToken, error });
        }
        if (what === 3) {
          await client.runs.pauseRun({ runId: run.runId });
          await client.engine.releaseRun({ leaseToken });
          await client.runs.resumeRun({ runId: run.runId });
        }
        return what === 4;
      },
    });
    const retryPolicy = { initialBackoff: durationFromMs(10), maxAttempts: 10 };
    const request = { handler: "work", queue: "narrow", retryPolicy };
    const runIds = await createRuns(client, 60, () => request);
    const events = await eventsOf(client, runIds);
    expect(mostAtOnce(events, () => "all")).toEqual(new Map([["all", 3]]));
  });

  test("of each key", async () => {
    const client = newClient();
    await client.queues.putQueue({ queue: { name: "shared", maxRunning: 5, maxRunningPerKey: 2 } });
    await using _hands = openHands(client, { count: 8, handlers: ["work"], queues: ["shared"] });
    const runIds = await createRuns(client, 60, (n) => ({
      handler: "work",
      queue: "shared",
      concurrencyKey: ["ada", "bob", ""][n % 3] ?? "",
    }));
    const events = await eventsOf(client, runIds);
    const perKey = mostAtOnce(events, ({ payload }) =>
      payload.case === "runCreated" ? payload.value.concurrencyKey : "",
    );
    expect([perKey.get("ada"), perKey.get("bob")]).toEqual([2, 2]);
    expect(mostAtOnce(events, () => "all").get("all")).toBeLessThanOrEqual(5);
  });

  test("of an agent, in whatever queues", async () => {
    const client = newClient();
    const { agent } = await client.agents.createAgent({ name: "one", handler: "work", limits: { maxRunning: 2 } });
    const agentId = agent?.agentId ?? "";
    await using _hands = openHands(client, { count: 6, handlers: ["work"], queues: ["a", "b"] });
    const runIds = await createRuns(client, 30, (n) => ({ agentId, queue: n % 2 === 0 ? "a" : "b" }));
    expect(mostAtOnce(await eventsOf(client, runIds), () => "all").get("all")).toBe(2);
    const update = { agent: { agentId, limits: { maxRunning: 1 } }, updateMask: { paths: ["limits"] } };
    const { position } = await client.agents.updateAgent(update);
    const later = await createRuns(client, 10, () => ({ agentId, queue: "a" }));
    const events = (await eventsOf(client, later)).filter((event) => event.position > position);
    expect(mostAtOnce(events, () => "all").get("all")).toBe(1);
  });
});

test("no more runs begin in any second than the rate limit says, however many workers wait", async () => {
  const client = newClient();
  await client.queues.putQueue({ queue: { name: "slow", rateLimit: { runs: 5, period: { seconds: 1n } } } });
  await using _hands = openHands(client, { count: 8, handlers: ["work"], queues: ["slow"] });
  const runIds = await createRuns(client, 17, () => ({ handler: "work", queue: "slow" }));
  expect(mostBegun(await eventsOf(client, runIds), 1_000)).toBe(5);
});

test("jobs that pile up without workers do not add up beyond the rate limit", async () => {
  const client = newClient();
  await client.queues.putQueue({ queue: { name: "slow", rateLimit: { runs: 3, period: { seconds: 1n } } } });
  const runIds = await createRuns(client, 9, () => ({ handler: "work", queue: "slow" }));
  const started = Date.now();
  await until(() => Date.now() - started > 1_500, { what: "more than a period to pass" });
  await using _hands = openHands(client, { count: 8, handlers: ["work"], queues: ["slow"] });
  expect(mostBegun(await eventsOf(client, runIds), 1_000)).toBe(3);
});

describe("a held queue", () => {
  test("lets no run begin, not even one that waits for a worker already, and goes on when it is held no longer", async () => {
    const client = newClient();
    const before = await createRuns(client, 5, () => ({ handler: "work" }));
    await settled(client);
    await client.queues.putQueue({ queue: { name: "default", held: true } });
    await settled(client);
    const after = await createRuns(client, 5, () => ({ handler: "work" }));
    await using hands = openHands(client, { count: 3, handlers: ["work"] });
    await settled(client);
    expect(hands.claimed).toEqual([]);
    await client.queues.putQueue({ queue: { name: "default" } });
    await eventsOf(client, [...before, ...after]);
  });

  test("lets those go on that have begun", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.queues.putQueue({ queue: { name: "default", held: true } });
    await client.engine.suspendRun({ leaseToken, conditions: [someMessage()] });
    await client.runs.sendMessage({ runId: run.runId, content: { kind: { case: "stringValue", value: "go" } } });
    expect((await claim(client, "by_hand")).run.runId).toBe(run.runId);
  });
});

test("a limit that comes when runs wait already holds for them", async () => {
  const client = newClient();
  const runIds = await createRuns(client, 40, () => ({ handler: "work" }));
  await settled(client);
  await client.queues.putQueue({ queue: { name: "default", maxRunning: 2 } });
  await settled(client);
  await using _hands = openHands(client, { count: 6, handlers: ["work"] });
  const events = await eventsOf(client, runIds);
  const claims = mostAtOnce(events, ({ payload }) => (payload.case === "runCreated" ? payload.value.queue : ""));
  expect(claims.get("default")).toBe(2);
});

test("a place goes to the highest priority, then to the oldest", async () => {
  const client = newClient();
  await client.queues.putQueue({ queue: { name: "default", maxRunning: 1, held: true } });
  const runIds: string[] = [];
  for (const priority of [0, 7, 3, 7, 0]) runIds.push(await createRun(client, { handler: "work", priority }));
  await client.queues.putQueue({ queue: { name: "default", maxRunning: 1 } });
  await using hands = openHands(client, { count: 3, handlers: ["work"] });
  await eventsOf(client, runIds);
  expect(hands.claimed).toEqual([1, 3, 2, 0, 4].map((n) => runIds[n]));
});

test("limits hold across a restart of the server", async () => {
  // Those that were claimed when the server went, and of which nobody knows, lapse soon.
  await using own = await openInstallation({ leaseTtlMs: 1_000 });
  const [server] = own.servers;
  const client = own.client();
  await client.queues.putQueue({ queue: { name: "default", maxRunning: 2, maxRunningPerKey: 1 } });
  await client.queues.putQueue({ queue: { name: "slow", rateLimit: { runs: 4, period: { seconds: 2n } } } });
  await using hands = openHands(client, { count: 6, handlers: ["work"], queues: ["default", "slow"] });
  const runIds = await createRuns(client, 60, (n) => ({ handler: "work", concurrencyKey: `${n % 4}` }));
  const slow = await createRuns(client, 6, () => ({ handler: "work", queue: "slow" }));
  for (const enough of [10, 30]) {
    await until(() => hands.claimed.length > enough, { what: `${enough} runs to be claimed` });
    await server?.stop();
    await server?.start();
  }
  // A connection of its own: that of the hands may still be told that nobody was there.
  const events = await eventsOf(own.client(), [...runIds, ...slow]);
  const groups = mostAtOnce(events, ({ payload }) => (payload.case === "runCreated" ? payload.value.queue : ""));
  expect(groups.get("default")).toBe(2);
  const ofSlow = new Set(slow);
  expect(
    mostBegun(
      events.filter(({ stream }) => ofSlow.has(stream?.id ?? "")),
      2_000,
    ),
  ).toBeLessThanOrEqual(4);
});

test("2,000 queued runs of one workspace do not hold up those of another", async () => {
  const [busy, other] = [newClient(), newClient()];
  await createRuns(busy, 2_000, () => ({ handler: "work" }));
  await using _hands = openHands(busy, { count: 2, handlers: ["work"] });
  for (let n = 0; n < 20; n++) {
    const { run, leaseToken } = await createAndClaim(other);
    await other.engine.completeRun({ leaseToken });
    expect((await ended(other, run.runId)).status).toBe(RunStatus.SUCCEEDED);
  }
  const { position: minPosition } = await other.runs.createRun({ handler: "nobody" });
  const { queue } = await busy.queues.getQueue({ name: "default", minPosition });
  expect(Number(queue?.queuedRuns)).toBeGreaterThan(500);
});
