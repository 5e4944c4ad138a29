import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeJob, type Job } from "../../src/jobs/job.ts";
import { type Jobs, openJobs } from "../../src/jobs/jobs.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";

let backend: TestBackend;
/** The one that makes jobs, and one that takes them: two processes. */
let maker: Jobs;
let taker: Jobs;

beforeAll(async () => {
  backend = await openTestBackend();
  const { nats, prefix, logger: log } = backend;
  const options = { nats, stream: `JOBS_${prefix}`, prefix, replicas: 1, leaseTtlMs: 30_000, log };
  maker = await openJobs(options);
  taker = await openJobs(options);
});

afterAll(async () => {
  await taker[Symbol.asyncDispose]();
  await maker[Symbol.asyncDispose]();
  await backend[Symbol.asyncDispose]();
});

const never = new AbortController().signal;
let handlers = 0;
let runs = 0;

/** A route that no other test uses. */
const newRoute = () => ({ workspaceId: "ws_test", queue: "default", handler: `handler_${++handlers}` });
type Route = ReturnType<typeof newRoute>;

function job(route: Route, priority: number): Job {
  runs++;
  return { ...route, runId: `run_${runs}`, jobId: `job_${runs}`, priority, position: 1n };
}

/** Makes a job of each priority, in this order. */
async function make(route: Route, priorities: readonly number[]): Promise<Job[]> {
  const made = priorities.map((priority) => job(route, priority));
  for (const each of made) expect(await maker.publish(each)).toBe(true);
  return made;
}

/** The next job, done with. */
async function take(routes: readonly Route[], waitMs = 10_000): Promise<Job | undefined> {
  const delivery = await taker.next(routes, waitMs, never);
  if (delivery !== undefined) await taker.finishConfirmed(delivery.ackSubject);
  return delivery?.job;
}

async function takeAll(routes: readonly Route[], count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) taken.push((await take(routes))?.runId ?? "none");
  return taken;
}

/** True when the broker counts a job among those that wait: that is a moment after it has taken it. */
async function arrived({ workspaceId, queue, handler }: Route, priority: number): Promise<boolean> {
  const durable = `${queue}~${workspaceId}~${handler}~${priority}`;
  const consumer = await backend.nats.jsm.consumers.info(`JOBS_${backend.prefix}`, durable);
  return consumer.num_pending + consumer.num_ack_pending > 0;
}

/** The order in which they should be taken: by priority, then as they were made. */
const inOrder = (made: readonly Job[]) => made.toSorted((a, b) => b.priority - a.priority).map(({ runId }) => runId);

test("of the jobs that wait the highest priority is taken first, and the oldest of each", async () => {
  const route = newRoute();
  const made = await make(route, [0, 3, 9, 0, 5, 9, 1, 3, 0, 9, 7, 2]);
  expect(await takeAll([route], made.length)).toEqual(inOrder(made));
});

test("priorities hold across the routes of one claim", async () => {
  const routes = [newRoute(), newRoute()];
  const [a, b] = routes as [Route, Route];
  const made = [...(await make(a, [0, 4])), ...(await make(b, [9, 2])), ...(await make(a, [6]))];
  expect(await takeAll(routes, made.length)).toEqual(inOrder(made));
});

test("whoever waits gets a job of a priority that the route never had before", async () => {
  const route = newRoute();
  for (const priority of [0, 8, 3]) {
    const taken = take([route]);
    const [made] = await make(route, [priority]);
    expect((await taken)?.runId).toBe(made?.runId);
  }
});

test("a job of high priority passes those that wait, however many were taken before it", async () => {
  const route = newRoute();
  // Both lanes are known from here on.
  await make(route, [0, 9]);
  await takeAll([route], 2);
  for (let round = 0; round < 50; round++) {
    const first = take([route]);
    const waiting = await make(route, [round % 2 === 0 ? 0 : 9]);
    expect((await first)?.runId).toBe(waiting[0]?.runId);
    const made = await make(route, [0, 0, 9]);
    await until(() => arrived(route, 9), { what: "the job to have come to its line" });
    expect(await takeAll([route], 3)).toEqual(inOrder(made));
  }
});

test("jobs of which no announcement came are found when everything is compared", async () => {
  const route = newRoute();
  await make(route, [0]);
  await takeAll([route], 1);
  const silent = job(route, 6);
  const { workspaceId, queue, handler } = route;
  const subject = `${backend.prefix}.job.${queue}.${workspaceId}.${handler}.6.${silent.runId}`;
  await backend.nats.js.publish(subject, encodeJob(silent));
  expect(await take([route], 200)).toBeUndefined();
  const taken = take([route]);
  expect(await maker.runIds()).toContain(silent.runId);
  expect((await taken)?.runId).toBe(silent.runId);
});

test("lanes open again when the broker has lost the queue", async () => {
  const route = newRoute();
  const made = await make(route, [0, 5]);
  expect(await takeAll([route], 2)).toEqual(inOrder(made));
  const waiting = take([route]);
  await backend.nats.jsm.streams.delete(`JOBS_${backend.prefix}`);
  expect(await maker.count()).toBe(0);
  const again = await make(route, [5]);
  expect((await waiting)?.runId).toBe(again[0]?.runId);
});

test("a route whose jobs all have the usual priority has one consumer", async () => {
  const route = newRoute();
  await make(route, [0, 0, 0]);
  await takeAll([route], 3);
  const names: string[] = [];
  for await (const { name } of backend.nats.jsm.consumers.list(`JOBS_${backend.prefix}`)) names.push(name);
  expect(names.filter((name) => name.includes(`~${route.handler}~`))).toEqual([`default~ws_test~${route.handler}~0`]);
});

test("a run has one job at a time, and none after it was withdrawn", async () => {
  const route = newRoute();
  const first = job(route, 4);
  expect(await maker.publish(first)).toBe(true);
  expect(await maker.publish({ ...first, jobId: "job_other" })).toBe(false);
  await maker.withdraw(first);
  expect(await take([route], 100)).toBeUndefined();
  expect(await maker.publish({ ...first, jobId: "job_other" })).toBe(true);
  await until(async () => (await take([route]))?.jobId === "job_other", { what: "the second job" });
});
