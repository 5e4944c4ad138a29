import { afterAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const { run, text, json, list } = createCommands(installation.url, newWorkspaceId());

interface JsonSchedule {
  readonly scheduleId: string;
  readonly etag: string;
  readonly run: object;
}

const clock = ["--cron", "0 7 * * 1-5", "--time-zone", "Europe/Berlin"];

test("create says when it fires and what its runs are created with", async () => {
  const options = ["--catch-up", "skip", "--handler", "report", "--input", '{"depth":1}', "--queue", "slow"];
  const limits = ["--budget", "tokens=1000,active-time=10m", "--retry", "attempts=5,on-exhausted=pause"];
  const schedule = await json<JsonSchedule>("schedules", "create", "--name", "Report", ...clock, ...options, ...limits);
  expect(schedule).toMatchObject({
    name: "Report",
    status: "SCHEDULE_STATUS_ACTIVE",
    cron: "0 7 * * 1-5",
    timeZone: "Europe/Berlin",
    catchUp: "CATCH_UP_SKIP",
    run: {
      handler: "report",
      input: { depth: 1 },
      queue: "slow",
      budget: { maxTokens: "1000", maxActiveTime: "600s" },
      retryPolicy: { maxAttempts: 5, onExhausted: "ON_EXHAUSTED_PAUSE" },
    },
  });
  expect(await text("schedules", "get", schedule.scheduleId)).toMatch(
    /cron +0 7 \* \* 1-5\nzone +Europe\/Berlin\ncatch up +SKIP\nnext +2[^]*budget +1000 tokens, 10 min with workers/,
  );
});

test("update changes what is given, of the run as well, and refuses what has changed meanwhile", async () => {
  const create = ["schedules", "create", "--name", "Sweep", "--cron", "@hourly", "--handler", "sweep"];
  const { scheduleId, etag } = await json<JsonSchedule>(...create, "--input", "1", "--budget", "tokens=5,steps=6");
  const changes = ["--queue", "night", "--budget", "steps=7", "--time-zone", "Asia/Tokyo"];
  expect(await json("schedules", "update", scheduleId, ...changes)).toMatchObject({
    cron: "@hourly",
    timeZone: "Asia/Tokyo",
    run: { handler: "sweep", input: 1, queue: "night", budget: { maxTokens: "5", maxSteps: "7" } },
  });
  const stale = await run("schedules", "update", scheduleId, "--name", "Broom", "--etag", etag);
  expect(stale.code).toBe(exitCodes.failed);
  expect(stale.stderr).toMatch(/\(ETAG_MISMATCH\)\nhint: .*repeat/);
});

test("update puts an agent in the place of a handler", async () => {
  const { agentId } = await json<{ agentId: string }>("agents", "create", "--name", "Ada");
  const create = ["schedules", "create", "--name", "Ask", "--cron", "@daily", "--handler", "echo"];
  const { scheduleId } = await json<JsonSchedule>(...create, "--queue", "q");
  const updated = await json<JsonSchedule>("schedules", "update", scheduleId, "--agent", agentId);
  expect(updated.run).toMatchObject({ agentId, queue: "q" });
  expect(updated.run).not.toHaveProperty("handler");
});

test("pause, resume, trigger and archive do what they say", async () => {
  const create = ["schedules", "create", "--name", "Echo", "--cron", "@yearly", "--handler", "echo"];
  const { scheduleId } = await json<JsonSchedule>(...create);
  expect(await json("schedules", "pause", scheduleId)).toMatchObject({ status: "SCHEDULE_STATUS_PAUSED" });
  const runId = (await text("schedules", "trigger", scheduleId, "--request-id", "once")).trim();
  expect(await json("schedules", "trigger", scheduleId, "--request-id", "once")).toMatchObject({ runId });
  expect(await json("schedules", "resume", scheduleId)).toMatchObject({ status: "SCHEDULE_STATUS_ACTIVE" });
  expect(await json("schedules", "archive", scheduleId)).toMatchObject({ status: "SCHEDULE_STATUS_ARCHIVED" });
  const archived = () => list<JsonSchedule>("schedules", "ls", "--status", "archived");
  await until(async () => (await archived()).some((one) => one.scheduleId === scheduleId), {
    what: "the list to show the archived schedule",
  });
  expect(await text("schedules", "list")).toMatch(new RegExp(`^${scheduleId} +ARCHIVED +Echo +@yearly +UTC`, "m"));
});

test("a schedule of nothing, of two things, or without a change is a wrong call", async () => {
  for (const args of [
    ["create", "--name", "x", "--cron", "@daily"],
    ["create", "--name", "x", "--cron", "@daily", "--handler", "echo", "--agent", "agt_1"],
    ["update", "sch_1", "--etag", "1"],
    ["update", "sch_1", "--handler", "echo", "--agent", "agt_1"],
  ]) {
    expect(await run("schedules", ...args)).toMatchObject({ code: exitCodes.usage });
  }
});
