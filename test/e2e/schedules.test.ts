import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { ScheduleFired } from "../../gen/signalbox/v1/schedule_event_pb.ts";
import { CatchUp, type Schedule, ScheduleStatus } from "../../gen/signalbox/v1/schedule_pb.ts";
import type { CreateScheduleRequestSchema } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { claim } from "./claims.ts";
import { refusal } from "./refusal.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const everySecond = "* * * * * *";
const yearly = { name: "Tick", cron: "@yearly", run: { handler: "nobody" } };

async function createSchedule(
  client: SignalboxClient,
  request: Exclude<MessageInitShape<typeof CreateScheduleRequestSchema>, Message> = {},
): Promise<Schedule> {
  const { schedule } = await client.schedules.createSchedule({ ...yearly, ...request });
  if (schedule === undefined) throw new Error("CreateSchedule answered without a schedule");
  return schedule;
}

function setStatus(client: SignalboxClient, scheduleId: string, status: ScheduleStatus) {
  return client.schedules.updateSchedule({ schedule: { scheduleId, status }, updateMask: { paths: ["status"] } });
}

/** What the record says about the firings of a schedule, oldest first. */
async function firings(client: SignalboxClient, scheduleId: string): Promise<ScheduleFired[]> {
  const minPosition = await headPosition(client);
  const filter = { stream: { type: "schedule", id: scheduleId } };
  const { events } = await client.events.listEvents({ filter, minPosition, pageSize: 200 });
  return events.flatMap(({ payload }) => (payload.case === "scheduleFired" ? [payload.value] : []));
}

const secondOf = (time: Timestamp | undefined) => (time ? timestampMs(time) / 1000 : Number.NaN);

/** The ids of the runs that carry the label of a schedule, oldest first. */
async function runsOf(client: SignalboxClient, scheduleId: string): Promise<string[]> {
  const minPosition = await headPosition(client);
  const { runs } = await client.runs.listRuns({ labels: { schedule: scheduleId }, minPosition, pageSize: 200 });
  return runs.map(({ runId }) => runId).toReversed();
}

describe("a schedule", () => {
  test("is answered with its defaults, and found", async () => {
    const client = newClient();
    const schedule = await createSchedule(client);
    const { scheduleId } = schedule;
    expect(schedule).toMatchObject({
      status: ScheduleStatus.ACTIVE,
      timeZone: "UTC",
      catchUp: CatchUp.LATEST,
      run: { handler: "nobody", labels: { schedule: scheduleId } },
      createBy: { type: PrincipalType.USER },
    });
    expect(new Date(timestampMs(schedule.nextTime!)).toISOString()).toMatch(/^\d{4}-01-01T00:00:00\.000Z$/);
    expect((await client.schedules.getSchedule({ scheduleId })).schedule).toEqual(schedule);
  });

  test.each([
    ["no cron", { cron: "often" }, /cron "often" is not valid/],
    ["a day that never comes", { cron: "0 0 30 2 *" }, /never fires/],
    ["no zone", { timeZone: "Mars/Olympus" }, /time_zone "Mars\/Olympus" is not known/],
    ["neither agent nor handler", { run: {} }, /exactly one of agent_id and handler/],
    ["a request_id for its runs", { run: { handler: "h", requestId: "r" } }, /run\.request_id/],
  ])("with %s is refused", async (_what, request, message) => {
    expect(await refusal(createSchedule(newClient(), request))).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      message: expect.stringMatching(message) as string,
    });
  });

  test("is changed, paused and archived, and its record tells so", async () => {
    const client = newClient();
    const { scheduleId, etag } = await createSchedule(client);
    const update = (fields: object, paths: string[]) =>
      client.schedules.updateSchedule({ schedule: { scheduleId, etag, ...fields }, updateMask: { paths } });
    const changed = await update({ cron: "@monthly", name: "ignored" }, ["cron"]);
    expect(changed.schedule).toMatchObject({ cron: "@monthly", name: "Tick" });
    expect(await update({ cron: "@monthly" }, ["cron"])).toEqual(changed);
    expect(await refusal(update({ cron: "@daily" }, ["cron"]))).toMatchObject({ reason: "ETAG_MISMATCH" });
    expect(await refusal(update({}, []))).toMatchObject({ reason: "INVALID_REQUEST" });
    const paused = await setStatus(client, scheduleId, ScheduleStatus.PAUSED);
    expect(paused.schedule?.status).toBe(ScheduleStatus.PAUSED);
    expect(paused.schedule?.nextTime).toBeUndefined();
    const archived = await client.schedules.archiveSchedule({ scheduleId });
    expect(archived.schedule).toMatchObject({ status: ScheduleStatus.ARCHIVED });
    expect(await client.schedules.archiveSchedule({ scheduleId })).toEqual(archived);
    expect(await refusal(setStatus(client, scheduleId, ScheduleStatus.ACTIVE))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
      metadata: { status: "archived" },
    });
    const filter = { stream: { type: "schedule", id: scheduleId } };
    const { events } = await client.events.listEvents({ filter, minPosition: archived.position });
    expect(events.map(({ type }) => type)).toEqual([
      "schedule.created",
      "schedule.updated",
      "schedule.updated",
      "schedule.archived",
    ]);
  });

  test("is listed newest first, by status, page by page", async () => {
    const client = newClient();
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) ids.push((await createSchedule(client)).scheduleId);
    const { position: minPosition } = await setStatus(client, ids[0]!, ScheduleStatus.PAUSED);
    const page = await client.schedules.listSchedules({ minPosition, pageSize: 2 });
    const rest = await client.schedules.listSchedules({ minPosition, pageSize: 2, pageToken: page.nextPageToken });
    const found = [...page.schedules, ...rest.schedules];
    expect(found.map(({ scheduleId }) => scheduleId)).toEqual(ids.toReversed());
    expect(rest.nextPageToken).toBe("");
    const paused = await client.schedules.listSchedules({ minPosition, statuses: [ScheduleStatus.PAUSED] });
    expect(paused.schedules.map(({ scheduleId }) => scheduleId)).toEqual([ids[0]]);
  });
});

describe("when its time has come a schedule", () => {
  test("creates a run a worker can claim, on behalf of its creator, once for each time", async () => {
    const client = newClient();
    const run = { handler: "inspect", input: jsonValue({ track: 4 }), labels: { team: "night" } };
    const { scheduleId } = await createSchedule(client, { cron: everySecond, run });
    const claimed = await claim(client, "inspect");
    expect(claimed.run).toMatchObject({
      input: jsonValue({ track: 4 }),
      labels: { team: "night", schedule: scheduleId },
      createBy: { type: PrincipalType.SERVICE, id: "signalbox", onBehalfOf: [{ type: PrincipalType.USER }] },
    });
    await until(async () => (await firings(client, scheduleId)).length >= 3, { what: "three firings" });
    const { schedule } = await client.schedules.archiveSchedule({ scheduleId });
    const fired = await firings(client, scheduleId);
    expect(schedule).toMatchObject({ lastRunId: fired.at(-1)?.runId, lastTime: fired.at(-1)?.time, lastError: "" });
    expect(await runsOf(client, scheduleId)).toEqual(fired.map(({ runId }) => runId));
    const dealtWith = fired.slice(1).reduce((sum, { skipped }) => sum + skipped + 1, 0);
    expect(dealtWith).toBe(secondOf(fired.at(-1)?.time) - secondOf(fired[0]?.time));
  });

  test("records why its agent takes no run, and goes on when it does again", async () => {
    const client = newClient();
    const { agent } = await client.agents.createAgent({ name: "inspector" });
    const agentId = agent?.agentId ?? "";
    const setAgent = (status: AgentStatus) =>
      client.agents.updateAgent({ agent: { agentId, status }, updateMask: { paths: ["status"] } });
    await setAgent(AgentStatus.PAUSED);
    const { scheduleId } = await createSchedule(client, { cron: everySecond, run: { agentId } });
    const get = async () => (await client.schedules.getSchedule({ scheduleId })).schedule!;
    await until(async () => (await get()).lastError !== "", { what: "a refused run" });
    expect(await get()).toMatchObject({
      status: ScheduleStatus.ACTIVE,
      lastRunId: "",
      lastError: `INVALID_STATE: agent ${agentId} is PAUSED and takes no new runs`,
    });
    await setAgent(AgentStatus.ACTIVE);
    await until(async () => (await get()).lastRunId !== "", { what: "a run" });
    expect(await get()).toMatchObject({ lastError: "" });
    await client.schedules.archiveSchedule({ scheduleId });
  });

  test("does nothing while it is paused, and does not catch that up", async () => {
    const client = newClient();
    const { scheduleId } = await createSchedule(client, { cron: everySecond, catchUp: CatchUp.ALL });
    await until(async () => (await firings(client, scheduleId)).length > 0, { what: "a firing" });
    const { schedule: paused } = await setStatus(client, scheduleId, ScheduleStatus.PAUSED);
    // Another schedule shows that the clock goes on.
    const other = await createSchedule(client, { cron: everySecond });
    await until(async () => (await firings(client, other.scheduleId)).length >= 2, { what: "firings of the other" });
    const { schedule: active } = await setStatus(client, scheduleId, ScheduleStatus.ACTIVE);
    const [from, to] = [secondOf(paused?.updateTime), secondOf(active?.nextTime)];
    const times = async () => (await firings(client, scheduleId)).map(({ time }) => secondOf(time));
    await until(async () => (await times()).some((time) => time >= to), { what: "a firing after the pause" });
    expect((await times()).filter((time) => time > from && time <= to)).toEqual([to]);
    for (const id of [scheduleId, other.scheduleId]) await client.schedules.archiveSchedule({ scheduleId: id });
  });

  test("after a stop of every server catches up what its policy says, each time once", async () => {
    const client = newClient();
    const create = (catchUp: CatchUp) => createSchedule(client, { cron: everySecond, catchUp });
    const [all, latest] = [await create(CatchUp.ALL), await create(CatchUp.LATEST)];
    await until(async () => (await firings(client, all.scheduleId)).length > 0, { what: "a firing" });
    await Promise.all(installation.servers.map((server) => server.stop()));
    const stoppedMs = Date.now();
    await until(() => Date.now() > stoppedMs + 2_500, { what: "some times to pass" });
    await Promise.all(installation.servers.map((server) => server.start()));
    const startedSecond = Date.now() / 1000;
    const caughtUp = async ({ scheduleId }: Schedule) =>
      secondOf((await firings(client, scheduleId)).at(-1)?.time) > startedSecond;
    await until(async () => (await caughtUp(all)) && caughtUp(latest), { what: "times after the start" });
    await client.schedules.archiveSchedule({ scheduleId: all.scheduleId });
    await client.schedules.archiveSchedule({ scheduleId: latest.scheduleId });
    const firedAll = await firings(client, all.scheduleId);
    const first = secondOf(firedAll[0]?.time);
    expect(firedAll.map(({ time }) => secondOf(time))).toEqual(firedAll.map((_, index) => first + index));
    expect(firedAll.map(({ skipped }) => skipped)).toEqual(firedAll.map(() => 0));
    expect(await runsOf(client, all.scheduleId)).toEqual(firedAll.map(({ runId }) => runId));
    const firedLatest = await firings(client, latest.scheduleId);
    expect(Math.max(...firedLatest.map(({ skipped }) => skipped))).toBeGreaterThanOrEqual(1);
    expect(await runsOf(client, latest.scheduleId)).toEqual(firedLatest.map(({ runId }) => runId));
  });
});

test("whichever server stops, another one goes on firing, and no time fires twice", async () => {
  const workspaceId = newWorkspaceId();
  const clients = installation.servers.map(({ url: baseUrl }) => installation.client({ baseUrl, workspaceId }));
  const { scheduleId } = await createSchedule(clients[0]!, { cron: everySecond, catchUp: CatchUp.ALL });
  for (const [index, server] of installation.servers.entries()) {
    const other = clients[1 - index]!;
    await server.stop();
    const before = (await firings(other, scheduleId)).length;
    await until(async () => (await firings(other, scheduleId)).length > before + 1, { what: "the other to fire" });
    await server.start();
  }
  await clients[0]!.schedules.archiveSchedule({ scheduleId });
  const fired = await firings(clients[0]!, scheduleId);
  const first = secondOf(fired[0]?.time);
  expect(fired.map(({ time }) => secondOf(time))).toEqual(fired.map((_, index) => first + index));
  expect(await runsOf(clients[0]!, scheduleId)).toEqual(fired.map(({ runId }) => runId));
});

describe("TriggerSchedule", () => {
  test("creates a run at once, as the caller, also for a paused schedule", async () => {
    const client = newClient();
    const { scheduleId } = await createSchedule(client);
    await setStatus(client, scheduleId, ScheduleStatus.PAUSED);
    const { run } = await client.schedules.triggerSchedule({ scheduleId });
    expect(run).toMatchObject({ labels: { schedule: scheduleId }, createBy: { type: PrincipalType.USER } });
    expect(await runsOf(client, scheduleId)).toEqual([run?.runId]);
    expect(await firings(client, scheduleId)).toEqual([]);
  });

  test("with one request_id gives one run, through two servers at the same time and after the archiving", async () => {
    const workspaceId = newWorkspaceId();
    const [a, b] = installation.servers.map(({ url: baseUrl }) => installation.client({ baseUrl, workspaceId }));
    const { scheduleId } = await createSchedule(a!);
    const trigger = (client = a!) => client.schedules.triggerSchedule({ scheduleId, requestId: "once" });
    const answers = await Promise.all([trigger(a), trigger(b), trigger(a), trigger(b)]);
    expect(new Set(answers.map(({ run }) => run?.runId)).size).toBe(1);
    await a!.schedules.archiveSchedule({ scheduleId });
    expect((await trigger(b)).run).toEqual(answers[0]?.run);
    expect(await refusal(a!.schedules.triggerSchedule({ scheduleId }))).toMatchObject({ reason: "INVALID_STATE" });
    const other = await createSchedule(a!);
    const reused = a!.schedules.triggerSchedule({ scheduleId: other.scheduleId, requestId: "once" });
    expect(await refusal(reused)).toMatchObject({ code: Code.AlreadyExists, reason: "REQUEST_ID_REUSED" });
  });

  test("says what CreateRun refuses", async () => {
    const client = newClient();
    const { scheduleId } = await createSchedule(client, { run: { agentId: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" } });
    expect(await refusal(client.schedules.triggerSchedule({ scheduleId }))).toMatchObject({
      reason: "AGENT_NOT_FOUND",
    });
  });
});
