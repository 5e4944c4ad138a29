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
