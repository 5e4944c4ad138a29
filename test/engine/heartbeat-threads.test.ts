import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { createHeartbeatThread } from "../../src/engine/heartbeat-threads.ts";
import type { Heartbeats, KeptLease } from "../../src/engine/heartbeats.ts";
import { silentLog } from "../../src/engine/log.ts";
import { until } from "../support/until.ts";

/** Heartbeats that are noted and not sent. */
function notedHeartbeats(): Heartbeats & { readonly kept: string[]; readonly ended: string[] } {
  const kept: string[] = [];
  const ended: string[] = [];
  return {
    kept,
    ended,
    keep({ runId }: KeptLease) {
      kept.push(runId);
      return { look: () => {}, end: () => ended.push(runId) };
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

const leaseOf = (runId: string): KeptLease => ({
  runId,
  leaseToken: "t",
  ttlMs: 30_000,
  log: silentLog,
  onEnd: () => {},
  onPause: () => {},
});

test("when the thread dies, heartbeats go on from the main thread", async () => {
  const instead = notedHeartbeats();
  const errors: string[] = [];
  const log = { ...silentLog, error: (_fields: object, message: string) => void errors.push(message) };
  const client = { baseUrl: "no address at all" };
  await using heartbeats = createHeartbeatThread({ instead, log, client, workerId: "w", maxBlockedMs: 60_000 });
  const first = heartbeats.keep(leaseOf("run_1"));
  const gone = heartbeats.keep(leaseOf("run_2"));
  gone.end();
  await until(() => instead.kept.length > 0, { what: "the main thread to take over" });
  heartbeats.keep(leaseOf("run_3"));
  expect(instead.kept).toEqual(["run_1", "run_3"]);
  expect(errors).toHaveLength(1);
  first.end();
  expect(instead.ended).toEqual(["run_1"]);
});

test.runIf(process.platform === "linux")("the thread starts with the first lease, and disposing ends it", async () => {
  const before = readdirSync("/proc/self/task").length;
  const threads = () => readdirSync("/proc/self/task").length - before;
  const options = { instead: notedHeartbeats(), log: silentLog, workerId: "w", maxBlockedMs: 60_000 };
  const heartbeats = createHeartbeatThread({ ...options, client: { baseUrl: "http://127.0.0.1:9" } });
  expect(threads()).toBe(0);
  heartbeats.keep(leaseOf("run_1"));
  expect(threads()).toBe(1);
  await heartbeats[Symbol.asyncDispose]();
  await heartbeats[Symbol.asyncDispose]();
  expect(threads()).toBe(0);
});
