import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { type Claim, claim, createAndClaim } from "./claims.ts";
import { reasonFor } from "./refusal.ts";
import { createRun, ended, eventTypes } from "./runs.ts";
import { allEnded, atTime, someMessage, startChild } from "./waiting.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });

const ofClaim = ({ run, leaseToken }: Claim) => ({ runId: run.runId, leaseToken });

/** The next run of a handler, brought to its end. */
async function finish(client: SignalboxClient, handler: string): Promise<string> {
  const { run, leaseToken } = await claim(client, handler);
  await client.engine.completeRun({ leaseToken, output: jsonValue("done") });
  return run.runId;
}

/** Brings a run to its end after it has asked to wait: under the lease that it has, or under the next when it is woken. */
async function goOn(client: SignalboxClient, { run, leaseToken }: Claim, suspended: boolean): Promise<RunStatus> {
  if (suspended) await finish(client, run.handler);
  else await client.engine.completeRun({ leaseToken });
  return (await ended(client, run.runId)).status;
}

const rounds = (count: number) => Array.from({ length: count }, (_, round) => round);

describe("a run that waits for a time", () => {
  test("is woken then, not before and without a sweep's delay", async () => {
    const client = newClient();
    const wakeMs = await Promise.all(
      rounds(20).map(async (round) => {
        const handler = `sleeper_${round}`;
        const { run, leaseToken } = await createAndClaim(client, handler);
        const timeMs = Date.now() + 200 + 10 * round;
        const suspended = await client.engine.suspendRun({ leaseToken, conditions: [atTime(timeMs)] });
        expect(suspended).toMatchObject({ suspended: true, run: { status: RunStatus.WAITING } });
        expect(await finish(client, handler)).toBe(run.runId);
        const { events } = await client.events.listEvents({ filter: { runId: run.runId } });
        const woken = events.find(({ type }) => type === "run.woken");
        return (woken?.createTime ? timestampMs(woken.createTime) : 0) - timeMs;
      }),
    );
    expect(Math.min(...wakeMs)).toBeGreaterThanOrEqual(0);
    // Sweeps come every 5 s.
    expect(Math.max(...wakeMs)).toBeLessThan(1_000);
  });

  test("goes on at once when the time has come already", async () => {
    const client = newClient();
    const { leaseToken } = await createAndClaim(client);
    const conditions = [atTime(Date.now() - 1)];
    expect(await client.engine.suspendRun({ leaseToken, conditions })).toMatchObject({
      suspended: false,
      holding: [0],
    });
    await client.engine.completeRun({ leaseToken });
  });

  test("goes on when something else comes first, and is not woken again", async () => {
    const client = newClient();
    const { run, leaseToken } = await createAndClaim(client);
    await client.engine.suspendRun({ leaseToken, conditions: [atTime(Date.now() + 300), someMessage()] });
    await client.runs.sendMessage({ runId: run.runId, content: jsonValue("hello") });
    const again = await claim(client, "by_hand");
    await client.engine.suspendRun({ leaseToken: again.leaseToken, conditions: [atTime(Date.now() + 600)] });
    expect(await finish(client, "by_hand")).toBe(run.runId);
    const types = await eventTypes(client, run.runId);
    expect(types.filter((type) => type === "run.woken")).toHaveLength(1);
  });
});

describe("a wake-up that races the suspension is not lost:", () => {
  test("a message", async () => {
    const client = newClient();
    const statuses = await Promise.all(
      rounds(60).map(async (round) => {
        const claimed = await createAndClaim(client, `listener_${round}`);
        const [{ suspended }] = await Promise.all([
          client.engine.suspendRun({ leaseToken: claimed.leaseToken, conditions: [someMessage()] }),
          client.runs.sendMessage({ runId: claimed.run.runId, content: jsonValue("hello") }),
        ]);
        return goOn(client, claimed, suspended);
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([RunStatus.SUCCEEDED]));
  });

  test("the end of a child", async () => {
    const client = newClient();
    const statuses = await Promise.all(
      rounds(40).map(async (round) => {
        const claimed = await createAndClaim(client, `parent_${round}`);
        const child = await startChild(client, ofClaim(claimed), `child_${round}`);
        const { leaseToken } = await claim(client, `child_${round}`);
        const [{ suspended }] = await Promise.all([
          client.engine.suspendRun({ leaseToken: claimed.leaseToken, conditions: [allEnded(child)] }),
          client.engine.completeRun({ leaseToken }),
        ]);
        return goOn(client, claimed, suspended);
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([RunStatus.SUCCEEDED]));
  });

  test("a time that comes in this moment", async () => {
    const client = newClient();
    const statuses = await Promise.all(
      rounds(40).map(async (round) => {
        const claimed = await createAndClaim(client, `sleeper_${round}`);
        const conditions = [atTime(Date.now() + (round % 4))];
        const { suspended } = await client.engine.suspendRun({ leaseToken: claimed.leaseToken, conditions });
        return goOn(client, claimed, suspended);
      }),
    );
    expect(new Set(statuses)).toEqual(new Set([RunStatus.SUCCEEDED]));
  });
});

describe("a parent", () => {
  test("that waits for all its children goes on when the last has ended, however each did", async () => {
    const client = newClient();
    const parent = ofClaim(await createAndClaim(client, "parent"));
    const children = [];
    for (const handler of ["done", "failing", "canceled"]) children.push(await startChild(client, parent, handler));
    const { leaseToken } = parent;
    await client.engine.suspendRun({ leaseToken, conditions: [allEnded(...children)] });
    await finish(client, "done");
    const failing = await claim(client, "failing");
    await client.engine.failRun({ leaseToken: failing.leaseToken, error: { code: "NO", message: "no" } });
    expect((await client.runs.getRun({ runId: parent.runId })).run?.status).toBe(RunStatus.WAITING);
    await client.runs.cancelRun({ runId: children[2] ?? "" });
    expect(await finish(client, "parent")).toBe(parent.runId);
    const { events } = await client.events.listEvents({ filter: { runId: parent.runId } });
    const told = events.flatMap(({ payload }) => (payload.case === "runChildEnded" ? [payload.value] : []));
    expect(told.map(({ childRunId, status }) => [childRunId, status])).toEqual([
      [children[0], RunStatus.SUCCEEDED],
      [children[1], RunStatus.FAILED],
      [children[2], RunStatus.CANCELED],
    ]);
  });

  test("does not wait for a child that has ended before", async () => {
    const client = newClient();
    const parent = ofClaim(await createAndClaim(client, "parent"));
    const child = await startChild(client, parent, "child");
    await finish(client, "child");
    await until(async () => (await eventTypes(client, parent.runId)).includes("run.child_ended"), {
      what: "the parent to hear of its child's end",
    });
    const conditions = [allEnded(child)];
    const answer = await client.engine.suspendRun({ leaseToken: parent.leaseToken, conditions });
    expect(answer).toMatchObject({ suspended: false, holding: [0] });
  });

  test("that ends takes its open children with it, and theirs", async () => {
    const client = newClient();
    const parent = ofClaim(await createAndClaim(client, "parent"));
    await startChild(client, parent, "child");
    const child = ofClaim(await claim(client, "child"));
    const grandchild = await startChild(client, child, "grandchild");
    await client.engine.suspendRun({ leaseToken: child.leaseToken, conditions: [allEnded(grandchild)] });
    await client.engine.completeRun({ leaseToken: parent.leaseToken });
    for (const [runId, parentRunId] of [
      [child.runId, parent.runId],
      [grandchild, child.runId],
    ] as const) {
      expect(await ended(client, runId)).toMatchObject({ endReason: RunEndReason.CANCELED });
      const { events } = await client.events.listEvents({ filter: { runId } });
      const { payload, actor, causationId } = events.at(-1) ?? {};
      expect(payload?.value).toMatchObject({ reason: expect.stringContaining(parentRunId) as unknown });
      expect(actor?.id).toBe("signalbox");
      expect(causationId).not.toBe("");
    }
  });

  test("has no open child after its end, however close to that it was created", async () => {
    const client = newClient();
    const outcomes = await Promise.all(
      rounds(30).map(async (round) => {
        const parent = ofClaim(await createAndClaim(client, `parent_${round}`));
        const [created] = await Promise.allSettled([
          createRun(client, { handler: "nobody", parentRunId: parent.runId }),
          client.engine.completeRun({ leaseToken: parent.leaseToken }),
        ]);
        if (created.status === "rejected") return reasonFor(Promise.reject(created.reason as Error));
        return (await ended(client, created.value)).status;
      }),
    );
    expect([RunStatus.CANCELED, "INVALID_STATE"]).toEqual(expect.arrayContaining([...new Set(outcomes)]));
  });
});

describe("a deadline holds", () => {
  const soon = { seconds: 0n, nanos: 300_000_000 };

  test("while a run waits", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "by_hand", maxDuration: soon });
    const { leaseToken } = await claim(client, "by_hand");
    await client.engine.suspendRun({ leaseToken, conditions: [someMessage()] });
    expect(await ended(client, runId)).toMatchObject({ endReason: RunEndReason.DEADLINE_EXCEEDED });
  });

  test("while a run is paused", async () => {
    const client = newClient();
    const runId = await createRun(client, { handler: "by_hand", maxDuration: soon });
    await client.runs.pauseRun({ runId });
    expect(await ended(client, runId)).toMatchObject({ endReason: RunEndReason.DEADLINE_EXCEEDED });
  });
});

test("a paused run goes on when it is resumed, whatever it did before", async () => {
  const client = newClient();
  const queued = await createRun(client, { handler: "queued" });
  await client.runs.pauseRun({ runId: queued });
  await client.runs.resumeRun({ runId: queued });
  expect(await finish(client, "queued")).toBe(queued);

  const waiting = await createAndClaim(client, "waiting");
  await client.engine.suspendRun({ leaseToken: waiting.leaseToken, conditions: [someMessage()] });
  await client.runs.pauseRun({ runId: waiting.run.runId });
  await client.runs.resumeRun({ runId: waiting.run.runId });
  expect(await finish(client, "waiting")).toBe(waiting.run.runId);

  const running = await createAndClaim(client, "running");
  await client.runs.pauseRun({ runId: running.run.runId });
  await client.engine.releaseRun({ leaseToken: running.leaseToken });
  expect((await client.runs.getRun({ runId: running.run.runId })).run?.status).toBe(RunStatus.PAUSED);
  await client.runs.resumeRun({ runId: running.run.runId });
  expect(await finish(client, "running")).toBe(running.run.runId);
});
