import { type DescField, type DescMethod, fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { EngineService, WorkRequestSchema, WorkResponseSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createAndClaim } from "./claims.ts";
import { type FieldPath, methods, nameOf, pathOf, textFields } from "./contract.ts";
import { furnish, goodRequests } from "./furnished.ts";
import { furnishFiles, goodFileRequests } from "./furnished-files.ts";
import { postJson } from "./plain-http.ts";
import { headPosition, subscribed } from "./subscribed.ts";
import { fill, type Ids, neverWere, yearly } from "./tenant-ids.ts";
import { openWork } from "./work-streams.ts";

const installation = await openInstallation({ heartbeatMs: 100 });
afterAll(() => installation[Symbol.asyncDispose]());
const { url } = installation;

const [workspaceA, workspaceB] = [newWorkspaceId(), newWorkspaceId()];
const ofA = await fill(installation.client({ workspaceId: workspaceA }), workspaceA);
const clientB = installation.client({ workspaceId: workspaceB });
const claimedByB = await createAndClaim(clientB, "of_b");
const agentOfB = (await clientB.agents.createAgent({ name: "of b" })).agent?.agentId ?? "";
const scheduleOfB = (await clientB.schedules.createSchedule(yearly)).schedule?.scheduleId ?? "";
const peopleOfB = await furnish(clientB);
const filesOfB = await furnishFiles(clientB);
const turnOfB = (await clientB.runs.createRun({ handler: "nobody", sessionId: "sess_b" })).run?.runId ?? "";

const asAgent = (id: string) => ({ type: PrincipalType.AGENT, id });
const leaseToken = claimedByB.leaseToken;
const error = { code: "X", message: "x" };
const anyStep = neverWere["step_id"];
const anyCall = neverWere["tool_call_id"];

/** What each method needs beside the id in question, as workspace B would send it. A new method must be entered here. */
const requests: Record<string, object> = {
  ...goodRequests(peopleOfB),
  ...goodFileRequests(filesOfB),
  // What these calls were refused is in the list.
  "ArtifactService/ListAccess": { outcomes: ["ACCESS_OUTCOME_GRANTED"] },
  "RoomService/ArchiveRoom": {},
  "ApprovalService/ListApprovals": {},
  // What these calls open does not show in the list.
  "IncidentService/OpenIncident": { title: "x", severity: "INCIDENT_SEVERITY_LOW" },
  "IncidentService/ListIncidents": { minSeverity: "INCIDENT_SEVERITY_MEDIUM" },
  "RunService/CreateRun": { handler: "nobody" },
  "RunService/GetRun": {},
  "RunService/ListRuns": {},
  "RunService/WaitRun": { timeout: "0s" },
  "RunService/CancelRun": {},
  "RunService/PauseRun": {},
  "RunService/ResumeRun": {},
  "RunService/RetryRun": {},
  "RunService/ForkRun": { runId: turnOfB },
  "RunService/SendMessage": { runId: turnOfB, content: "x" },
  "RunService/ListSteps": {},
  "RunService/ListToolCalls": {},
  "AgentService/CreateAgent": { name: "x" },
  "AgentService/GetAgent": {},
  "AgentService/UpdateAgent": { agent: { agentId: agentOfB, name: "x" }, updateMask: "name" },
  "AgentService/ArchiveAgent": {},
  "AgentService/ListAgents": {},
  "DocumentService/AddDocument": { text: "x" },
  "DocumentService/GetDocument": {},
  "DocumentService/ListDocuments": {},
  "DocumentService/DeleteDocument": {},
  "DocumentService/SearchDocuments": { query: "of a" },
  "QueueService/PutQueue": { queue: { name: "of_b" } },
  "QueueService/GetQueue": { name: "of_a" },
  "QueueService/ListQueues": {},
  "ScheduleService/CreateSchedule": yearly,
  "ScheduleService/GetSchedule": {},
  "ScheduleService/UpdateSchedule": { schedule: { scheduleId: scheduleOfB, name: "x" }, updateMask: "name" },
  "ScheduleService/ArchiveSchedule": {},
  "ScheduleService/TriggerSchedule": { scheduleId: scheduleOfB },
  "ScheduleService/ListSchedules": {},
  "SessionService/ListSessions": {},
  "SessionService/GetSession": {},
  "SessionService/GetSessionHistory": { sessionId: "sess_b" },
  "SessionService/CompactSession": { sessionId: "sess_b", summary: "s", throughRunId: turnOfB },
  "EventService/ListEvents": {},
  "EventService/GetEvent": {},
  "EventService/Subscribe": {},
  "EngineService/ClaimRun": { handlers: ["by_hand"], workerId: "w", maxWait: "0s" },
  "EngineService/Heartbeat": { leaseToken },
  "EngineService/ReleaseRun": { leaseToken },
  "EngineService/StartStep": { leaseToken, key: "a", kind: "STEP_KIND_RUN" },
  "EngineService/CompleteStep": { leaseToken, stepId: anyStep },
  "EngineService/FailStep": { leaseToken, stepId: anyStep, error },
  "EngineService/StartToolCall": { leaseToken, key: "a", tool: "t", effect: 1 },
  "EngineService/SucceedToolCall": { leaseToken, toolCallId: anyCall },
  "EngineService/FailToolCall": { leaseToken, toolCallId: anyCall, error },
  "EngineService/ReconcileToolCall": { toolCallId: anyCall, note: "n" },
  "EngineService/PublishDeltas": { leaseToken, deltas: [{ stepKey: "a", text: "x" }] },
  "EngineService/SuspendRun": { leaseToken, conditions: [{ time: "9999-01-01T00:00:00Z" }] },
  "EngineService/CompleteRun": { leaseToken },
  "EngineService/FailRun": { leaseToken, error },
  "EngineService/ReportWorker": { worker: { workerId: "w" } },
  "EngineService/ListWorkers": {},
  "EngineService/Work": { want: { claim: { handlers: ["by_hand"], workerId: "w" } } },
};

/** What an id needs in addition, by method and field. */
const additions: Record<string, object> = {
  "EngineService/ReconcileToolCall tool_call_id": { leaseToken },
  "EngineService/CompleteStep output_artifact_id": { leaseToken: filesOfB.leaseToken, stepId: filesOfB.stepId },
  "ArtifactService/CreateArtifact spec.step_id": { spec: { name: "x", leaseToken: filesOfB.leaseToken } },
  "ArtifactService/CreateUpload spec.step_id": { spec: { name: "x", leaseToken: filesOfB.leaseToken, sizeBytes: "3" } },
  "ArtifactService/UploadArtifact header.spec.step_id": {
    header: { spec: { name: "x", leaseToken: filesOfB.leaseToken } },
  },
  "EvalService/Evaluate target.agent.agent_id": { target: {} },
};

/** Principals are no tenant's own: without authentication, one acts in every workspace. */
const principals = new Set(["signalbox.v1.Principal", "signalbox.v1.EventFilter.actor_id"]);

function isId(field: DescField): boolean {
  const { name, parent } = field;
  if (principals.has(parent.typeName) || principals.has(`${parent.typeName}.${name}`)) return false;
  return name === "id" || name.endsWith("_id") || name === "lease_token" || name === "idempotency_key";
}

const cases = methods.flatMap((method) =>
  textFields(method.input, isId).map((path): [string, string, DescMethod, FieldPath] => [
    pathOf(method),
    nameOf(path),
    method,
    path,
  ]),
);

function idOf(ids: Ids, path: FieldPath): string {
  const name =
    path.at(-1)?.name === "id"
      ? path
          .slice(-2)
          .map((field) => field.name)
          .join(".")
      : path.at(-1)?.name;
  const id = ids[name ?? ""];
  if (id === undefined) throw new Error(`no sample for the id field ${nameOf(path)}: enter one`);
  return id;
}

/** The request of a method with the id in its place; undefined for a method that is not entered. */
function requestFor(method: DescMethod, path: FieldPath, id: string): object | undefined {
  const request = requests[pathOf(method)];
  const whole = request && { ...request, ...additions[`${pathOf(method)} ${nameOf(path)}`] };
  return whole && requestWith(whole, path, id);
}

/** The request with the id in its place. */
function requestWith(request: object, path: FieldPath, id: string): object {
  const [field, ...rest] = path;
  if (field === undefined) return request;
  const before = (request as Record<string, object | undefined>)[field.jsonName];
  // An aggregate is named by its type as well.
  const value =
    rest.length === 0 ? id : requestWith(before ?? (field.name === "stream" ? { type: "run" } : {}), rest, id);
  return { ...request, [field.jsonName]: value };
}

/** What workspace B is answered: all of it but the id that it named, and what differs from one call to the next. */
async function answer(method: DescMethod, request: object, id: string): Promise<string> {
  const streaming = method.methodKind !== "unary";
  const stop = new AbortController();
  const message = Buffer.from(JSON.stringify(request));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  const response = await fetch(`${url}/signalbox.v1.${pathOf(method)}`, {
    method: "POST",
    headers: {
      "content-type": streaming ? "application/connect+json" : "application/json",
      "x-workspace-id": workspaceB,
      "x-correlation-id": "c",
    },
    body: streaming ? Buffer.concat([head, message]) : message,
    signal: stop.signal,
  });
  const body = streaming ? await upToHeartbeat(response) : Buffer.from(await response.arrayBuffer());
  stop.abort();
  const headers = [...response.headers].filter(([name]) => name !== "date");
  return normalized(`${response.status} ${JSON.stringify(headers)} ${body.toString("latin1")}`, id);
}

/** The same for a call on a Work stream; for what opens it, the answer to a call of B's own. */
async function answerOnStream(path: FieldPath, id: string): Promise<string> {
  const [carried, ...rest] = path;
  if (carried === undefined) throw new Error("a path has a field");
  const method = EngineService.methods.find(({ localName }) => localName === carried.localName);
  const opening = requests["EngineService/Work"] ?? {};
  const first = method === undefined ? requestWith(opening, path, id) : opening;
  await using work = openWork(clientB, "by_hand", fromJson(WorkRequestSchema, first as JsonValue));
  const request = method && requestFor(method, rest, id);
  const call = request === undefined ? { heartbeat: { leaseToken } } : { [carried.jsonName]: request };
  work.send(fromJson(WorkRequestSchema, { call: "1", ...call } as JsonValue));
  const response = await until(() => work.received.find(({ call: number }) => number === 1n), { what: "the answer" });
  return normalized(toJsonString(WorkResponseSchema, response), id);
}

/** The stream until its first heartbeat: by then everything on record would have come. */
async function upToHeartbeat(response: Response): Promise<Buffer> {
  let body = Buffer.alloc(0);
  for await (const chunk of response.body ?? []) {
    body = Buffer.concat([body, chunk]);
    if (body.includes("heartbeat")) break;
  }
  return body;
}

function normalized(text: string, id: string): string {
  return (
    text
      .replaceAll(id, "<id>")
      .replaceAll(/run_[0-7][0-9A-Z]{25}/g, "<run>")
      .replaceAll(/\b(msg|room|th|inc|art|grant|link|suite)_[0-7][0-9A-Z]{25}/g, "<$1>")
      .replaceAll(/Nonce: [0-9a-f]+|Seal: [\w-]+/g, "<random>")
      .replaceAll(/"number":\d+/g, '"number":<number>')
      .replaceAll(/agt_[0-7][0-9A-Z]{25}/g, "<agent>")
      .replaceAll(/sch_[0-7][0-9A-Z]{25}/g, "<schedule>")
      .replaceAll(/doc_[0-7][0-9A-Z]{25}/g, "<document>")
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
      .replaceAll(/"(\w*[pP]osition|etag)":"\d+"/g, '"$1":"<position>"')
      .replaceAll(/"content-length","\d+"/g, '"content-length","<length>"')
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>")
      .replaceAll(/"(hash|requestDigest|value)":"[\w+/=]{20,}"/g, '"$1":"<bytes>"')
      .replaceAll(/\/[0-9a-f]{26}"/g, '/<blob>"')
      // Before each message of a stream.
      .replaceAll(/[^\x20-\x7e][^]{4}(?=\{)/g, "<length>")
  );
}

describe("another workspace's id is answered like one that never was:", () => {
  test.each(cases)("%s %s", async (name, _path, method, path) => {
    const [foreign, unknown] = [idOf(ofA, path), idOf(neverWere, path)];
    const ask = (id: string) => {
      const request = requestFor(method, path, id);
      if (request === undefined) throw new Error(`${name} is new: enter what it needs`);
      return method.methodKind === "bidi_streaming" ? answerOnStream(path, id) : answer(method, request, id);
    };
    const toForeign = await ask(foreign);
    expect(toForeign).toBe(await ask(unknown));
    expect(toForeign).not.toMatch(/^5\d\d/);
  });
});

test("workspace A itself is answered", async () => {
  const clientA = installation.client({ workspaceId: workspaceA });
  const { run } = await clientA.runs.getRun({ runId: ofA["run_id"] ?? "" });
  const { agent } = await clientA.agents.getAgent({ agentId: ofA["agent_id"] ?? "" });
  const { event } = await clientA.events.getEvent({ eventId: ofA["event_id"] ?? "" });
  await clientA.engine.heartbeat({ leaseToken: ofA["lease_token"] ?? "" });
  const { artifact } = await clientA.artifacts.getArtifact({ artifactId: ofA["artifact_id"] ?? "" });
  const { suite } = await clientA.evals.getSuite({ suiteId: ofA["suite_id"] ?? "" });
  const { evaluation } = await clientA.evals.getEvaluation({ evaluationId: ofA["evaluation_id"] ?? "" });
  await clientA.artifacts.getUpload({ uploadId: ofA["upload_id"] ?? "" });
  const all = [run, agent, event, artifact, suite, evaluation];
  expect(all.map((each) => each?.workspaceId)).toEqual(all.map(() => workspaceA));
});

test("a command that names another workspace's id changes nothing there", async () => {
  const clientA = installation.client({ workspaceId: workspaceA });
  const afterPosition = await headPosition(clientA);
  const outcomes = await Promise.allSettled([
    clientB.runs.cancelRun({ runId: ofA["run_id"] ?? "" }),
    clientB.agents.archiveAgent({ agentId: ofA["agent_id"] ?? "" }),
    clientB.documents.deleteDocument({ documentId: ofA["document_id"] ?? "" }),
    clientB.schedules.archiveSchedule({ scheduleId: ofA["schedule_id"] ?? "" }),
    clientB.schedules.triggerSchedule({ scheduleId: ofA["schedule_id"] ?? "" }),
    clientB.sessions.compactSession({
      sessionId: ofA["session_id"] ?? "",
      summary: "s",
      throughRunId: ofA["run_id"] ?? "",
    }),
    clientB.engine.completeRun({ leaseToken: ofA["lease_token"] ?? "" }),
    clientB.rooms.postMessage({ roomId: ofA["room_id"] ?? "", text: "x" }),
    clientB.rooms.archiveRoom({ roomId: ofA["room_id"] ?? "" }),
    clientB.rooms.redactMessage({ messageId: ofA["message_id"] ?? "" }),
    clientB.rooms.addRoomMember({ roomId: peopleOfB.roomId, principal: asAgent(ofA["agent_id"] ?? "") }),
    clientB.approvals.decideApproval({ approvalId: ofA["approval_id"] ?? "", verdict: ApprovalVerdict.DENY }),
    clientB.approvals.delegateApproval({ approvalId: ofA["approval_id"] ?? "", delegateTo: "user:bob" }),
    clientB.incidents.acknowledgeIncident({ incidentId: ofA["incident_id"] ?? "" }),
    clientB.incidents.resolveIncident({ incidentId: ofA["incident_id"] ?? "", rootCause: "x" }),
    clientB.engine.reconcileToolCall({
      runId: ofA["run_id"] ?? "",
      toolCallId: ofA["tool_call_id"] ?? "",
      note: "n",
    }),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => "rejected"));
  const { position: minPosition } = await clientA.runs.createRun({ handler: "nobody" });
  const { events } = await clientA.events.listEvents({ afterPosition, minPosition });
  expect(events.map(({ type }) => type)).toEqual(["run.created"]);
});

test("no list and no subscription of a workspace shows anything of another one", async () => {
  const clientA = installation.client({ workspaceId: workspaceA });
  const { position: minPosition } = await clientA.runs.createRun({ handler: "nobody", roomId: "room_a" });
  const { roomId } = peopleOfB;
  const [runs, agents, schedules, sessions, documents, events, ...forPeople] = await Promise.all([
    clientB.runs.listRuns({ minPosition, pageSize: 200 }),
    clientB.agents.listAgents({ minPosition, pageSize: 200 }),
    clientB.schedules.listSchedules({ minPosition, pageSize: 200 }),
    clientB.sessions.listSessions({ minPosition, pageSize: 200 }),
    clientB.documents.listDocuments({ minPosition, pageSize: 200 }),
    clientB.events.listEvents({ minPosition, pageSize: 200 }),
    clientB.rooms.listRooms({ minPosition, pageSize: 200 }),
    clientB.approvals.listApprovals({ minPosition, pageSize: 200 }),
    clientB.incidents.listIncidents({ minPosition, pageSize: 200 }),
    clientB.rooms.listUnread({ minPosition, pageSize: 200 }),
    clientB.pipeline.getSnapshot({ minPosition }),
    clientB.runs.listToolCalls({ minPosition, pageSize: 200 }),
  ]);
  const [{ rooms }, { approvals }, { incidents }, unread, { stages }, { toolCalls }] = forPeople;
  const found = [
    runs.runs,
    agents.agents,
    schedules.schedules,
    sessions.sessions,
    documents.documents,
    events.events,
    rooms,
    approvals,
    incidents,
  ];
  expect(found.map((items) => items.length > 0)).toEqual(found.map(() => true));
  expect(unread.rooms.map((each) => each.roomId)).toContain(roomId);
  const runsOfB = new Set(runs.runs.map(({ runId }) => runId));
  const shown = [...stages.flatMap(({ items }) => items), ...toolCalls].map(({ runId }) => runId);
  expect(shown.filter((runId) => !runsOfB.has(runId))).toEqual([]);
  expect(unread.rooms.map((each) => each.roomId)).not.toContain(ofA["room_id"]);
  const workspaces = found.flatMap((items) => items.map(({ workspaceId }) => workspaceId));
  expect(new Set(workspaces)).toEqual(new Set([workspaceB]));
  await using subscription = await subscribed(clientB);
  await expect.poll(() => subscription.frames.some(({ case: kind }) => kind === "heartbeat")).toBe(true);
  expect(new Set(subscription.events.map(({ workspaceId }) => workspaceId))).toEqual(new Set([workspaceB]));
});

test("policies and kill switches are their workspace's own", async () => {
  const clientA = installation.client({ workspaceId: workspaceA });
  const cedar = "forbid(principal, action, resource);";
  await clientA.policy.putPolicy({ policy: { cedar } });
  const { position: minPosition } = await clientA.policy.setKillSwitch({ on: true, reason: "drill" });
  expect((await clientB.policy.getPolicy({ minPosition })).policy).toMatchObject({ version: 0n, cedar: "" });
  expect((await clientB.policy.listPolicyVersions({ minPosition })).policies).toEqual([]);
  const switches = await clientB.policy.getKillSwitch({ minPosition });
  expect(switches).toMatchObject({ externalWritesStopped: false, killEpoch: 0n, stopped: [] });
  expect(await clientA.policy.getKillSwitch({ minPosition })).toMatchObject({ externalWritesStopped: true });
  const { decision } = await clientB.policy.evaluate({ context: { action: { type: "x", effect: ToolEffect.READ } } });
  expect(decision?.decision).toBe(Decision.ALLOW);
});

test("no call names the workspace of the installation", async () => {
  const call = postJson(url, "PolicyService/GetPolicy", {}, { "x-workspace-id": "ws_installation" });
  expect(await call).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
});

test("workers are listed in their own workspace only", async () => {
  const clientA = installation.client({ workspaceId: workspaceA });
  await clientA.engine.reportWorker({ worker: { workerId: "of a", runIds: [ofA["run_id"] ?? ""] } });
  expect((await clientA.engine.listWorkers({})).workers.map(({ workerId }) => workerId)).toEqual(["of a"]);
  expect((await clientB.engine.listWorkers({})).workers.map(({ workerId }) => workerId)).not.toContain("of a");
});

test("jobs of a workspace go to its own workers only", async () => {
  const nothing = await clientB.engine.claimRun({ handlers: ["by_hand"], workerId: "b", maxWait: { seconds: 0n } });
  expect(nothing.run).toBeUndefined();
});
