import { afterAll, expect, test } from "vitest";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createSeeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { createAndClaim } from "./claims.ts";
import { openHands } from "./hands.ts";
import { createRun, ended } from "./runs.ts";

// Jobs are made by one of the servers; workers ask the other one.
const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () =>
  installation.client({ workspaceId: newWorkspaceId(), baseUrl: installation.servers[1]?.url ?? "" });

/** Creates a run of each priority, one after the other; returns their ids in the order in which they should be claimed. */
async function createEach(client: SignalboxClient, priorities: readonly number[]): Promise<string[]> {
  const created = [];
  for (const priority of priorities)
    created.push({ priority, runId: await createRun(client, { handler: "work", priority }) });
  return created.toSorted((a, b) => b.priority - a.priority).map(({ runId }) => runId);
}

/** Resolves when each of the runs has a job. */
async function offered(runIds: readonly string[]): Promise<void> {
  const { jsm } = installation.backend.nats;
  await until(
    async () => {
      const { state } = await jsm.streams.info(`JOBS_${installation.backend.prefix}`, { subjects_filter: ">" });
      const subjects = Object.keys(state.subjects ?? {});
      return runIds.every((runId) => subjects.some((subject) => subject.endsWith(`.${runId}`)));
    },
    { what: "every run to have a job" },
  );
}

test("one worker takes the runs that wait strictly by priority, and the oldest of each first", async () => {
  const client = newClient();
  // Runs from before the reactors have begun are found by a sweep, a little later than those that come then.
  await offered([await createRun(client, { handler: "marker" })]);
  const random = createSeeded(11);
  const expected = await createEach(
    client,
    Array.from({ length: 60 }, () => random.below(10)),
  );
  await offered(expected);
  await using hands = openHands(client, { count: 1, handlers: ["work"] });
  await Promise.all(expected.map((runId) => ended(client, runId)));
  expect(hands.claimed).toEqual(expected);
});

test("a run of high priority passes those that wait, also for a worker that has waited before", async () => {
  const client = newClient();
  for (let round = 0; round < 10; round++) {
    const { leaseToken } = await createAndClaim(client, "work");
    const expected = await createEach(client, [0, 1, 0, 9, 4]);
    await offered(expected);
    await client.engine.completeRun({ leaseToken });
    await using hands = openHands(client, { count: 1, handlers: ["work"] });
    await Promise.all(expected.map((runId) => ended(client, runId)));
    expect(hands.claimed).toEqual(expected);
  }
});

test("priorities hold across the handlers that a worker has", async () => {
  const client = newClient();
  const low = await createRun(client, { handler: "first", priority: 2 });
  const high = await createRun(client, { handler: "second", priority: 5 });
  const usual = await createRun(client, { handler: "first" });
  await offered([low, high, usual]);
  await using hands = openHands(client, { count: 1, handlers: ["first", "second"] });
  await Promise.all([low, high, usual].map((runId) => ended(client, runId)));
  expect(hands.claimed).toEqual([high, low, usual]);
});
