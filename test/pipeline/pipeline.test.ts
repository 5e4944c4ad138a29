import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { GetSnapshotResponse } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PipelineStageKind, PipelineStageKindSchema } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PauseReason, type Run, RunStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { enumName } from "../../src/kernel/enum-name.ts";
import { pipelineItem, stageOf } from "../../src/runs/pipeline-item.ts";
import { evolveRun } from "../../src/runs/resource.ts";
import { claim } from "../e2e/claims.ts";
import { allEvents } from "../e2e/concurrency.ts";
import { openHands } from "../e2e/hands.ts";
import { createRun } from "../e2e/runs.ts";
import { atTime } from "../e2e/waiting.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createSeeded } from "../support/seeded.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation({ servers: 2 });
});
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = (): SignalboxClient => installation.client({ workspaceId: newWorkspaceId() });
const head = async () => (await installation.backend.log.bounds()).head;
const { INBOX, QUEUED, RUNNING, NEEDS_DECISION, DONE, FAILED } = PipelineStageKind;

/** The runs of each stage, by id. */
function shown({ stages }: GetSnapshotResponse): Record<string, string[]> {
  return Object.fromEntries(
    stages.map(({ kind, items }) => [
      enumName(PipelineStageKindSchema, kind),
      items.map(({ runId }) => runId).toSorted(),
    ]),
  );
}

/** The same, folded from the events. */
function folded(events: readonly Event[]): { stages: Record<string, string[]>; runs: Map<string, Run> } {
  const runs = new Map<string, Run>();
  for (const event of events) {
    if (event.stream?.type !== "run") continue;
    const run = evolveRun(runs.get(event.stream.id), event);
    if (run !== undefined) runs.set(event.stream.id, run);
  }
  const idsIn = (kind: PipelineStageKind) =>
    [...runs.values()].filter((run) => stageOf(run) === kind).map(({ runId }) => runId);
  const kinds = [INBOX, QUEUED, RUNNING, NEEDS_DECISION, DONE, FAILED];
  const stages = kinds.map((kind) => [enumName(PipelineStageKindSchema, kind), idsIn(kind).toSorted()] as const);
  return { stages: Object.fromEntries(stages), runs };
}

/** Asks for an external write and waits for the approval that it takes. Returns its id. */
async function waitForApproval(client: SignalboxClient, leaseToken: string): Promise<string> {
  const call = { leaseToken, key: "move", tool: "points.move", effect: ToolEffect.EXTERNAL_WRITE };
  const error = await client.engine.startToolCall(call).catch(ConnectError.from);
  if (!(error instanceof ConnectError)) throw new Error("the call was let through");
  const approvalId = error.findDetails(ErrorInfoSchema)[0]?.metadata["approval_id"] ?? "";
  await client.engine.suspendRun({
    leaseToken,
    conditions: [{ condition: { case: "approval", value: { approvalId } } }],
  });
  return approvalId;
}

test("every run stands in the stage of its status", async () => {
  const client = newClient();
  const fresh = await createRun(client, { handler: "nobody", labels: { team: "yard" }, roomId: "room_yard" });
  const running = await createRun(client, { handler: "a" });
  await claim(client, "a");
  const again = await createRun(client, { handler: "b" });
  await client.engine.releaseRun({ leaseToken: (await claim(client, "b")).leaseToken, delay: { seconds: 600n } });
  const asleep = await createRun(client, { handler: "c" });
  const { leaseToken } = await claim(client, "c");
  await client.engine.suspendRun({ leaseToken, conditions: [atTime(Date.now() + 600_000)] });
  const paused = await createRun(client, { handler: "nobody" });
  await client.runs.pauseRun({ runId: paused });
  const asking = await createRun(client, { handler: "e" });
  const approvalId = await waitForApproval(client, (await claim(client, "e")).leaseToken);
  const done = await createRun(client, { handler: "d" });
  await client.engine.completeRun({ leaseToken: (await claim(client, "d")).leaseToken });
  const canceled = await createRun(client, { handler: "nobody" });
  await client.runs.cancelRun({ runId: canceled });
  await client.incidents.openIncident({ title: "Smoke" });
  const { incident } = await client.incidents.openIncident({ title: "Fire", roomId: "room_yard" });
  await client.incidents.resolveIncident({ incidentId: incident?.incidentId ?? "", rootCause: "a match" });

  const snapshot = await client.pipeline.getSnapshot({ minPosition: await head() });
  expect(shown(snapshot)).toEqual({
    INBOX: [fresh],
    QUEUED: [again, asleep].toSorted(),
    RUNNING: [running],
    NEEDS_DECISION: [paused, asking].toSorted(),
    DONE: [done],
    FAILED: [canceled],
  });
  expect(snapshot.openIncidentCount).toBe(1n);
  const items = snapshot.stages.flatMap((stage) => stage.items);
  const itemOf = (id: string) => items.find(({ runId }) => runId === id);
  expect(itemOf(fresh)).toMatchObject({ labels: { team: "yard" }, roomId: "room_yard", handler: "nobody", attempt: 0 });
  expect(itemOf(paused)).toMatchObject({ status: RunStatus.PAUSED, pauseReason: PauseReason.OPERATOR });
  expect(itemOf(asking)).toMatchObject({ status: RunStatus.WAITING, approvalIds: [approvalId] });
  const { run } = await client.runs.getRun({ runId: done });
  expect(itemOf(done)).toMatchObject({
    updateTime: run?.endTime,
    createTime: run?.createTime,
    position: run?.position,
  });

  const room = await client.pipeline.getSnapshot({ roomId: "room_yard" });
  expect(room.stages.flatMap((stage) => stage.items).map(({ runId }) => runId)).toEqual([fresh]);
  expect(room.openIncidentCount).toBe(0n);
});

test("a stage counts all and shows as many as asked for: open ones oldest first, ended ones newest first", async () => {
  const client = newClient();
  const open: string[] = [];
  const ended: string[] = [];
  for (let i = 0; i < 5; i++) open.push(await createRun(client, { handler: "nobody" }));
  for (let i = 0; i < 5; i++) {
    const runId = await createRun(client, { handler: "nobody" });
    await client.runs.cancelRun({ runId });
    ended.unshift(runId);
  }
  const { stages } = await client.pipeline.getSnapshot({ limit: 3, minPosition: await head() });
  const stageOfKind = (kind: PipelineStageKind) => stages.find((stage) => stage.kind === kind);
  expect(stageOfKind(INBOX)).toMatchObject({ count: 5n, truncated: true });
  expect(stageOfKind(INBOX)?.items.map(({ runId }) => runId)).toEqual(open.slice(0, 3));
  expect(stageOfKind(FAILED)).toMatchObject({ count: 5n, truncated: true });
  expect(stageOfKind(FAILED)?.items.map(({ runId }) => runId)).toEqual(ended.slice(0, 3));
  expect(stageOfKind(DONE)).toMatchObject({ count: 0n, truncated: false, items: [] });

  const { run } = await client.runs.getRun({ runId: ended[1] ?? "" });
  const since = await client.pipeline.getSnapshot(run?.endTime ? { endedAfter: run.endTime } : {});
  expect(since.stages.at(-1)?.items.map(({ runId }) => runId)).toEqual(ended.slice(0, 2));
  const future = await client.pipeline.getSnapshot({ endedAfter: timestampFromMs(Date.now() + 60_000) });
  expect(future.stages.at(-1)).toMatchObject({ count: 0n, items: [] });
});

test("under load, every snapshot is what the events up to its position say, and no other", async () => {
  const client = newClient();
  const seeded = createSeeded(11);
  const snapshots: GetSnapshotResponse[] = [];
  {
    await using _hands = openHands(client, {
      count: 4,
      handlers: ["busy"],
      work: async ({ leaseToken, run }) => {
        if (run.attempt > 3) return true;
        const choice = seeded.below(4);
        if (choice === 0) await client.engine.releaseRun({ leaseToken });
        if (choice === 1) await client.engine.suspendRun({ leaseToken, conditions: [atTime(Date.now() + 20)] });
        if (choice === 2) {
          await client.engine.failRun({ leaseToken, error: { code: "NO", message: "no", retryable: seeded.oneIn(2) } });
        }
        return choice === 3;
      },
    });
    let loading = true;
    const load = async () => {
      for (let i = 0; i < 12; i++) {
        const ids = await Promise.all(Array.from({ length: 10 }, () => createRun(client, { handler: "busy" })));
        await Promise.allSettled([
          client.runs.pauseRun({ runId: seeded.pick(ids) }),
          client.runs.cancelRun({ runId: seeded.pick(ids) }),
        ]);
      }
    };
    const look = async () => {
      while (loading) snapshots.push(await client.pipeline.getSnapshot({ limit: 5_000 }));
    };
    await Promise.all([load().finally(() => (loading = false)), look()]);
  }
  snapshots.push(await client.pipeline.getSnapshot({ limit: 5_000, minPosition: await head() }));
  const events = await allEvents(client, await head());
  expect(new Set(snapshots.map(({ position }) => position)).size).toBeGreaterThan(3);
  for (const snapshot of snapshots) {
    const { stages, runs } = folded(events.filter(({ position }) => position <= snapshot.position));
    expect(shown(snapshot)).toEqual(stages);
    for (const { items, count } of snapshot.stages) {
      expect(count).toBe(BigInt(items.length));
      for (const item of items) expect(item).toEqual(pipelineItem(runs.get(item.runId)!));
    }
  }
});

test("another workspace sees nothing of it, and the future is refused in time", async () => {
  await createRun(newClient(), { handler: "nobody" });
  const client = newClient();
  const { stages, openIncidentCount } = await client.pipeline.getSnapshot({ minPosition: await head() });
  expect(stages.map(({ kind }) => kind)).toEqual([INBOX, QUEUED, RUNNING, NEEDS_DECISION, DONE, FAILED]);
  expect(stages.flatMap(({ items }) => items)).toEqual([]);
  expect(openIncidentCount).toBe(0n);
  const ahead = client.pipeline.getSnapshot({ minPosition: (await head()) + 1_000n }, { timeoutMs: 300 });
  expect(await ahead.catch(reasonOf)).toSatisfy((reason) => reason === "READ_MODEL_BEHIND" || reason === undefined);
  expect(await client.pipeline.getSnapshot({ limit: -1 }).catch(reasonOf)).toBe("INVALID_REQUEST");
});
