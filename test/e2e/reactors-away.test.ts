import { expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim, createAndClaim } from "./claims.ts";
import { allEvents, mostAtOnce } from "./concurrency.ts";
import { openHands } from "./hands.ts";
import { createRun, ended } from "./runs.ts";
import { allEnded, atTime, someMessage, startChild } from "./waiting.ts";

test("what nobody reacted to while the reactors were away is made up for when they are back", async () => {
  await using installation = await openInstallation();
  const [server] = installation.servers;
  const client = installation.client();
  const parent = await createAndClaim(client, "parent");
  const { leaseToken } = parent;
  const childId = await startChild(client, { runId: parent.run.runId, leaseToken }, "child");
  const child = await claim(client, "child");
  const ending = await createAndClaim(client, "ending");
  const orphan = await createRun(client, { handler: "nobody", parentRunId: ending.run.runId });
  const sleeper = await createAndClaim(client, "sleeper");
  const listener = await createAndClaim(client, "listener");

  await server?.stop();
  await server?.start(new Set(["server", "projector"]));
  await client.engine.suspendRun({ leaseToken, conditions: [allEnded(childId)] });
  await client.engine.completeRun({ leaseToken: child.leaseToken });
  await client.engine.completeRun({ leaseToken: ending.leaseToken });
  const wakeMs = Date.now() + 50;
  await client.engine.suspendRun({ leaseToken: sleeper.leaseToken, conditions: [atTime(wakeMs)] });
  await client.engine.suspendRun({ leaseToken: listener.leaseToken, conditions: [someMessage()] });
  const content = { kind: { case: "stringValue", value: "go" } } as const;
  await client.runs.sendMessage({ runId: listener.run.runId, content });
  await client.queues.putQueue({ queue: { name: "narrow", maxRunning: 2 } });
  const limited = await Promise.all(
    Array.from({ length: 12 }, () => createRun(client, { handler: "limited", queue: "narrow" })),
  );
  await until(() => Date.now() > wakeMs, { what: "the sleeper's time to come" });
  // Nobody has reacted: all of this is still as it was left.
  expect((await client.runs.getRun({ runId: parent.run.runId })).run?.status).toBe(RunStatus.WAITING);
  expect((await client.runs.getRun({ runId: orphan })).run?.status).toBe(RunStatus.QUEUED);
  expect((await client.runs.getRun({ runId: sleeper.run.runId })).run?.status).toBe(RunStatus.WAITING);

  await server?.stop();
  await server?.start();
  await using _hands = openHands(client, {
    count: 6,
    handlers: ["parent", "sleeper", "listener", "limited"],
    queues: ["default", "narrow"],
  });
  const runIds = [parent.run.runId, sleeper.run.runId, listener.run.runId, ...limited];
  const runs = await Promise.all(runIds.map((runId) => ended(client, runId)));
  expect(new Set(runs.map(({ status }) => status))).toEqual(new Set([RunStatus.SUCCEEDED]));
  expect((await ended(client, orphan)).status).toBe(RunStatus.CANCELED);
  const { position } = await client.runs.createRun({ handler: "nobody" });
  const groups = mostAtOnce(await allEvents(client, position), ({ payload }) =>
    payload.case === "runCreated" ? payload.value.queue : "",
  );
  expect(groups.get("narrow")).toBe(2);
});

test("another server's reactors take over: nothing that waits is lost with those that go", async () => {
  await using installation = await openInstallation({ servers: 2 });
  const [first, second] = installation.servers;
  const client = installation.client({ baseUrl: second?.url ?? "" });
  await using _hands = openHands(client, {
    count: 4,
    handlers: ["worker"],
    work: async ({ run, leaseToken }) => {
      if (run.attempt > 1) return true;
      const conditions = [atTime(Date.now() + 300)];
      return !(await client.engine.suspendRun({ leaseToken, conditions })).suspended;
    },
  });
  const create = () => Promise.all(Array.from({ length: 30 }, () => createRun(client, { handler: "worker" })));
  const before = await create();
  // Whichever of them leads; the other one serves on.
  await first?.stop();
  const after = await create();
  const runs = await Promise.all([...before, ...after].map((runId) => ended(client, runId)));
  expect(new Set(runs.map(({ status }) => status))).toEqual(new Set([RunStatus.SUCCEEDED]));
});
