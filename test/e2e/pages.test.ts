import { afterAll, describe, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createAndClaim } from "./claims.ts";
import { methods, pathOf } from "./contract.ts";
import { stored } from "./files.ts";
import { askByStep, mail } from "./people.ts";
import { type ErrorBody, infoOf, postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const workspaceId = newWorkspaceId();
const client = installation.client({ workspaceId });
const there = await fill(client);
const minPosition = String(await headPosition(client));

/** A list of three things at least. */
interface List {
  readonly request: object;
  /** What makes it another list; none for a list without filters. */
  readonly other?: object;
}

/** Every method that answers page by page. A new one must be entered here. */
const lists: Record<string, List> = {
  "RunService/ListRuns": { request: {}, other: { roomId: "room_other" } },
  "RunService/ListSteps": { request: { runId: there.runId }, other: { runId: there.otherRunId } },
  "RunService/ListToolCalls": { request: { runId: there.runId }, other: { runId: "" } },
  "EngineService/ListWorkers": { request: {} },
  "AgentService/ListAgents": { request: {}, other: { statuses: ["AGENT_STATUS_ACTIVE"] } },
  "ScheduleService/ListSchedules": { request: {}, other: { statuses: ["SCHEDULE_STATUS_ACTIVE"] } },
  "SessionService/ListSessions": { request: {} },
  "SessionService/GetSessionHistory": { request: { sessionId: "sess_0" }, other: { sessionId: "sess_1" } },
  "DocumentService/ListDocuments": { request: {}, other: { metadata: { edition: "4" } } },
  "QueueService/ListQueues": { request: {} },
  "RoomService/ListRooms": { request: {}, other: { includeArchived: true } },
  "RoomService/ListRoomMembers": { request: { roomId: there.roomId }, other: { roomId: there.otherRoomId } },
  "RoomService/ListThreads": { request: { roomId: there.roomId }, other: { roomId: there.otherRoomId } },
  "RoomService/ListMessages": { request: { roomId: there.roomId }, other: { newestFirst: true } },
  "RoomService/ListUnread": { request: {}, other: { onlyUnread: true } },
  "ApprovalService/ListApprovals": { request: {}, other: { assignee: "me" } },
  "PolicyService/ListPolicyVersions": { request: {} },
  "PolicyService/GetKillSwitch": { request: {} },
  "ArtifactService/ListArtifacts": { request: {}, other: { purposes: ["ARTIFACT_PURPOSE_FILE"] } },
  "ArtifactService/ListAccess": { request: {}, other: { outcomes: ["ACCESS_OUTCOME_NOT_FOUND"] } },
  "EvalService/ListSuites": { request: {}, other: { statuses: ["SUITE_STATUS_ACTIVE"] } },
  "EvalService/ListSuiteVersions": { request: { suiteId: there.suiteId }, other: { suiteId: there.otherSuiteId } },
  "EvalService/ListEvaluations": { request: {}, other: { suiteId: there.suiteId } },
  "IncidentService/ListIncidents": { request: { kinds: ["INCIDENT_KIND_MANUAL"] }, other: { kinds: [] } },
};

const paged = methods.filter(({ input }) => input.fields.some(({ name }) => name === "page_token"));

describe.each(paged.map((method) => [pathOf(method), method] as const))("%s", (path, { input, output }) => {
  const items = output.fields.find((field) => field.fieldKind === "list")?.jsonName ?? "";
  const takesPosition = input.fields.some(({ name }) => name === "min_position");

  function ask(more: object, headers: Record<string, string> = {}) {
    const { request } = listOf(path);
    const body = { ...request, ...(takesPosition && { minPosition }), ...more };
    return postJson<Record<string, unknown[]> & { nextPageToken?: string } & ErrorBody>(installation.url, path, body, {
      "x-workspace-id": workspaceId,
      ...headers,
    });
  }

  test("answers the same page by page as at once, each item once", async () => {
    const whole = await ask({});
    expect(whole).toMatchObject({ status: 200 });
    const all = whole.body[items] ?? [];
    expect(all.length).toBeGreaterThan(2);
    const seen: unknown[] = [];
    let pageToken = "";
    do {
      const { status, body } = await ask({ pageSize: 2, pageToken });
      expect(status).toBe(200);
      expect(body[items]?.length ?? 0).toBeLessThan(3);
      seen.push(...(body[items] ?? []));
      pageToken = body.nextPageToken ?? "";
    } while (pageToken !== "");
    expect(seen).toEqual(all);
  });

  test("refuses a token of another list, of other filters, of another workspace, and what is none", async () => {
    const { nextPageToken: pageToken = "" } = (await ask({ pageSize: 1 })).body;
    expect(pageToken).not.toBe("");
    const foreign = path === "RunService/ListRuns" ? there.agentsToken : there.runsToken;
    const { other } = listOf(path);
    const answers = await Promise.all([
      ask({ pageToken: foreign }),
      ask({ pageToken: "bm90IG91cnM" }),
      ask({ pageToken: "~~~" }),
      ask({ pageSize: -1 }),
      ...(other ? [ask({ pageToken, ...other })] : []),
    ]);
    for (const { status, body } of answers) {
      expect({ status, reason: infoOf(body)?.["reason"] }).toEqual({ status: 400, reason: "INVALID_REQUEST" });
    }
    // A thing of this workspace that the list is of is not there for another one, which is said first.
    expect([400, 404]).toContain((await ask({ pageToken }, { "x-workspace-id": newWorkspaceId() })).status);
  });

  test.runIf(takesPosition)("waits for a position of the future no longer than it is given time", async () => {
    const { status, body } = await ask({ minPosition: String(2n ** 62n) }, { "connect-timeout-ms": "150" });
    expect({ status, code: body.code }).toEqual({ status: 504, code: "deadline_exceeded" });
  });
});

function listOf(path: string): List {
  const list = lists[path];
  if (list === undefined) throw new Error(`${path} is new: enter a list of three things`);
  return list;
}

/** Puts three of everything into a workspace. */
async function fill({ rooms, runs, engine, evals, ...rest }: SignalboxClient) {
  const { run, leaseToken } = await createAndClaim(client);
  const roomId = (await rooms.createRoom({ name: "control" })).room?.roomId ?? "";
  let otherRoomId = "";
  const suiteIds: string[] = [];
  for (const n of [0, 1, 2]) {
    const name = `n${n}`;
    await runs.createRun({ handler: "nobody", sessionId: `sess_${n}` });
    await runs.createRun({ handler: "nobody", sessionId: "sess_0" });
    await engine.startStep({ leaseToken, key: name });
    await engine.startToolCall({ leaseToken, key: name, tool: "look", effect: ToolEffect.READ });
    await engine.reportWorker({ worker: { workerId: name } });
    await rest.agents.createAgent({ name });
    await rest.schedules.createSchedule({ name, cron: "@yearly", run: { handler: "nobody" } });
    await rest.documents.addDocument({ title: name, text: "a red signal means stop" });
    await rest.queues.putQueue({ queue: { name, maxRunning: 1 } });
    otherRoomId = (await rooms.createRoom({ name })).room?.roomId ?? "";
    await rooms.addRoomMember({ roomId, principal: { type: PrincipalType.USER, id: name } });
    await rooms.createThread({ roomId, title: name });
    await rooms.postMessage({ roomId, text: name });
    await rest.incidents.openIncident({ title: name });
    await stored(client, Buffer.from(name), { name });
    await refusal(rest.artifacts.createDownloadUrl({ artifactId: "art_01ARZ3NDEKTSV4RRFFQ69G5FAV" }));
    for (const suite of [
      { name, cases: [{ key: "a", expected: jsonValue(n) }] },
      { name: "versions", cases: [{ key: "a", expected: jsonValue(n) }] },
    ]) {
      suiteIds.push((await evals.putSuite({ suite })).suite?.suiteId ?? "");
    }
    const target = { target: { case: "handler", value: "nobody" } } as const;
    await evals.evaluate({ suiteId: suiteIds.at(-1) ?? "", target, queue: "nobody" });
    await askByStep(client);
    await rest.policy.putPolicy({ policy: { cedar: `@id("${name}") permit(principal, action, resource);` } });
  }
  await rest.policy.setKillSwitch({ on: true, reason: "drill" });
  for (const n of [0, 1, 2]) await refusal(engine.startToolCall({ leaseToken, ...mail, key: `stopped${n}` }));
  const { position: reached } = await runs.createRun({ handler: "nobody" });
  const otherRunId = (await createAndClaim(client, "other")).run.runId;
  const runsToken = (await runs.listRuns({ pageSize: 1, minPosition: reached })).nextPageToken;
  const agentsToken = (await rest.agents.listAgents({ pageSize: 1, minPosition: reached })).nextPageToken;
  const [otherSuiteId = "", suiteId = ""] = suiteIds;
  return { runId: run.runId, otherRunId, roomId, otherRoomId, suiteId, otherSuiteId, runsToken, agentsToken };
}
