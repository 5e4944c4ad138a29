import { afterAll, beforeAll, expect, test } from "vitest";
import type { Job } from "../../src/jobs/job.ts";
import { type Jobs, openJobs } from "../../src/jobs/jobs.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";

let backend: TestBackend;
let jobs: Jobs;

beforeAll(async () => {
  backend = await openTestBackend();
  const { nats, prefix, logger: log } = backend;
  jobs = await openJobs({ nats, stream: `JOBS_${prefix}`, prefix, replicas: 1, leaseTtlMs: 30_000, log });
});

afterAll(async () => {
  await jobs[Symbol.asyncDispose]();
  await backend[Symbol.asyncDispose]();
});

const never = new AbortController().signal;
const route = { workspaceId: "ws_test", queue: "default", handler: "echo" };

function job(number: number, priority = 0): Job {
  return { ...route, runId: `run_${number}`, jobId: `job_${number}`, priority, position: BigInt(number) };
}

/** The run of the next job, which is done with it. */
async function take(): Promise<string | undefined> {
  const delivery = await jobs.next([route], 20_000, never);
  if (delivery !== undefined) jobs.finish(delivery.ackSubject);
  return delivery?.job.runId;
}

test("each waiter gets a job as soon as there is one, however many others got one before", async () => {
  for (let number = 1; number <= 20; number++) {
    const taken = take();
    expect(await jobs.publish(job(number))).toBe(true);
    expect(await taken).toBe(`run_${number}`);
  }
});

test("those who wait get jobs again when the broker has lost the queue", async () => {
  const taken = take();
  await backend.nats.jsm.streams.delete(`JOBS_${backend.prefix}`);
  expect(await jobs.count()).toBe(0);
  expect(await jobs.publish(job(100))).toBe(true);
  expect(await taken).toBe("run_100");
});

test("a run has one job at a time", async () => {
  expect(await jobs.publish(job(200))).toBe(true);
  expect(await jobs.publish(job(200))).toBe(false);
  expect(await jobs.runIds()).toEqual(new Set(["run_200"]));
});

test("a job that was taken before another one was withdrawn comes again when it is released", async () => {
  const own = { ...route, handler: "own" };
  const ours = [1, 2, 3].map((number) => ({ ...job(number), ...own }));
  const [first, second] = ours;
  if (first === undefined || second === undefined) throw new Error("no jobs");
  const taken: string[] = [];
  for (const each of ours) {
    expect(await jobs.publish(each)).toBe(true);
    taken.push((await jobs.next([own], 20_000, never))?.ackSubject ?? "");
  }
  await jobs.withdraw(second);
  // The one after it ends before the one ahead of it.
  await jobs.finishConfirmed(taken[2] ?? "");
  jobs.release(taken[0] ?? "", 0);
  expect((await jobs.next([own], 5_000, never))?.job).toEqual(first);
});

test("withdrawing a job that ends meanwhile, or is not there, is fine", async () => {
  const own = { ...route, handler: "ending" };
  const ending = Array.from({ length: 50 }, (_, number) => ({ ...job(number), ...own }));
  for (const each of ending) {
    await jobs.publish(each);
    const { ackSubject = "" } = (await jobs.next([own], 20_000, never)) ?? {};
    jobs.finish(ackSubject);
    await Promise.all([jobs.withdraw(each), jobs.withdraw(each)]);
    expect(await jobs.publish(each)).toBe(true);
    await jobs.withdraw(each);
  }
});
