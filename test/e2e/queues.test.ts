import { afterAll, describe, expect, test } from "vitest";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { reasonFor } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const minute = { seconds: 60n };

describe("a queue", () => {
  test("is what was put last", async () => {
    const { queues } = newClient();
    const settings = { name: "night", maxRunning: 3, maxRunningPerKey: 1, rateLimit: { runs: 5, period: minute } };
    const first = await queues.putQueue({ queue: settings });
    expect(first.queue).toMatchObject({ ...settings, etag: "1", position: first.position });
    const again = await queues.putQueue({ queue: settings });
    expect(again.queue).toEqual(first.queue);
    const { queue, position: minPosition } = await queues.putQueue({ queue: { name: "night", held: true, etag: "1" } });
    expect(queue).toMatchObject({ held: true, maxRunning: 0, etag: "2" });
    expect((await queues.getQueue({ name: "night", minPosition })).queue).toEqual(queue);
    expect((await queues.listQueues({ minPosition })).queues).toEqual([queue]);
  });

  test("is not overwritten by one who has not seen its last change", async () => {
    const { queues } = newClient();
    const { queue } = await queues.putQueue({ queue: { name: "night", held: true } });
    const { etag = "" } = queue ?? {};
    await queues.putQueue({ queue: { name: "night", etag } });
    expect(await reasonFor(queues.putQueue({ queue: { name: "night", maxRunning: 1, etag } }))).toBe("ETAG_MISMATCH");
  });

  test("shows how many runs wait in it and how many run", async () => {
    const { queues, runs, engine } = newClient();
    for (const handler of ["by_hand", "nobody", "nobody"]) await runs.createRun({ handler, queue: "night" });
    const claimed = await engine.claimRun({ handlers: ["by_hand"], queues: ["night"], workerId: "w" });
    const { position: minPosition } = await runs.createRun({ handler: "nobody", queue: "day" });
    expect((await queues.getQueue({ name: "night", minPosition })).queue).toMatchObject({
      queuedRuns: 2n,
      runningRuns: 1n,
      etag: "",
    });
    const { position } = await engine.completeRun({ leaseToken: claimed.leaseToken });
    expect((await queues.getQueue({ name: "night", minPosition: position })).queue).toMatchObject({ runningRuns: 0n });
  });

  test("that has neither settings nor open runs is not there", async () => {
    const client = newClient();
    expect(await reasonFor(client.queues.getQueue({ name: "night" }))).toBe("QUEUE_NOT_FOUND");
    await client.runs.createRun({ handler: "by_hand" });
    const { leaseToken } = await claim(client, "by_hand");
    const { position: minPosition } = await client.engine.completeRun({ leaseToken });
    expect(await reasonFor(client.queues.getQueue({ name: "default", minPosition }))).toBe("QUEUE_NOT_FOUND");
    expect((await client.queues.listQueues({ minPosition })).queues).toEqual([]);
  });
});

test("a queue of another workspace is not there, by whatever name", async () => {
  const [mine, other] = [newClient(), newClient()];
  const { position: minPosition } = await other.queues.putQueue({ queue: { name: "night", held: true } });
  expect(await reasonFor(mine.queues.getQueue({ name: "night", minPosition }))).toBe("QUEUE_NOT_FOUND");
  await mine.queues.putQueue({ queue: { name: "night", maxRunning: 1 } });
  expect((await other.queues.getQueue({ name: "night" })).queue).toMatchObject({ held: true, maxRunning: 0 });
});

test("the list has those with settings and those with open runs, by name, page by page", async () => {
  const { queues, runs } = newClient();
  for (const name of ["b", "Z", "x-1", "a_2"]) await queues.putQueue({ queue: { name, maxRunning: 2 } });
  let minPosition = 0n;
  for (const queue of ["m", "a-1", "b", "_"])
    ({ position: minPosition } = await runs.createRun({ handler: "h", queue }));
  const names: string[] = [];
  let pageToken = "";
  do {
    const page = await queues.listQueues({ pageSize: 2, pageToken, minPosition });
    names.push(...page.queues.map(({ name, queuedRuns }) => `${name} ${queuedRuns}`));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(names).toEqual(["Z 0", "_ 1", "a-1 1", "a_2 0", "b 1", "m 1", "x-1 0"]);
});
