import type { DescField } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createAndClaim } from "./claims.ts";
import { methods, nameOf, pathOf, textFields } from "./contract.ts";
import { type ErrorBody, infoOf, postJson } from "./plain-http.ts";
import { refusal } from "./refusal.ts";
import { headPosition, subscribed } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const { url } = installation;
const client = installation.client();

const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** Posts a body as it is. */
async function post(method: string, body: string | Uint8Array<ArrayBuffer>, contentType = "application/json") {
  const response = await fetch(`${url}/signalbox.v1.${method}`, {
    method: "POST",
    headers: { "content-type": contentType },
    body,
  });
  const text = await response.text();
  expect(text).not.toMatch(/\bat .*\.[tj]s:\d+|node_modules/);
  return { status: response.status, error: JSON.parse(text) as ErrorBody };
}

describe("JSON", () => {
  test.each([
    ["with an unknown field", '{"handler":"echo","hendler":"x"}', "hendler"],
    ["with an unknown enum value", '{"handler":"echo","zone":"ZONE_NOWHERE"}', "ZONE_NOWHERE"],
    ["with a number that no enum value has", '{"handler":"echo","zone":99}', "zone"],
    ["with a negative enum number", '{"handler":"echo","zone":-1}', "zone"],
    ["with the wrong type", '{"handler":7}', "handler"],
    ["that breaks off", '{"handler":"echo"', "JSON"],
    ["that is no object", '"echo"', "JSON"],
    ["nested beyond reason", `{"handler":"echo","input":${"[".repeat(500)}${"]".repeat(500)}}`, ""],
    ["with a malformed duration", '{"handler":"echo","maxDuration":"soon"}', "Duration"],
  ])("%s is refused with the reason", async (_name, body, mentions) => {
    const { status, error } = await post("RunService/CreateRun", body);
    expect(status).toBe(400);
    expect(error.code).toBe("invalid_argument");
    expect(error.message).toContain(mentions);
    expect(infoOf(error)).toMatchObject({ domain: "signalbox", reason: "INVALID_REQUEST" });
  });

  test("that is not UTF-8 is refused", async () => {
    const body = Buffer.concat([Buffer.from('{"handler":"echo","input":"'), Buffer.of(0xc3, 0x28), Buffer.from('"}')]);
    const { status, error } = await post("RunService/CreateRun", body);
    expect(status).toBe(400);
    expect(error).toMatchObject({ code: "invalid_argument", message: expect.stringContaining("UTF-8") as string });
  });
});

describe("binary messages", () => {
  // Field 3, handler: length-delimited.
  const invalidUtf8 = Buffer.of((3 << 3) | 2, 2, 0xc3, 0x28);
  // Field 10, zone: varint 99.
  const unknownZone = Buffer.concat([Buffer.of((3 << 3) | 2, 1, 0x78), Buffer.of(10 << 3, 99)]);

  test.each([
    ["with text that is not UTF-8", invalidUtf8],
    ["that break off", Buffer.of((3 << 3) | 2, 9, 0x78)],
    ["that are noise", Buffer.of(0xff, 0xff, 0xff, 0xff)],
    ["with a number that no enum value has", unknownZone],
  ])("%s are refused", async (_name, body) => {
    const { status, error } = await post("RunService/CreateRun", body, "application/proto");
    expect(status).toBe(400);
    expect(error.code).toBe("invalid_argument");
    expect(infoOf(error)).toMatchObject({ domain: "signalbox", reason: "INVALID_REQUEST" });
  });
});

describe("fields that break a rule of the contract are named:", () => {
  test.each([
    ["neither agent nor handler", {}, "agent_id and handler"],
    ["both agent and handler", { handler: "echo", agentId: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" }, "agent_id and handler"],
    ["a request_id with a space", { handler: "echo", requestId: "a b" }, "request_id"],
    ["a queue with a dot", { handler: "echo", queue: "a.b" }, "queue"],
    ["a room that is a wildcard", { handler: "echo", roomId: "room_*" }, "room_id"],
    ["a negative duration", { handler: "echo", maxDuration: "-1s" }, "max_duration"],
    ["a duration of 31 days", { handler: "echo", maxDuration: "2678400s" }, "max_duration"],
    ["a label key with a space", { handler: "echo", labels: { "a b": "c" } }, "labels"],
    [
      "too many labels",
      { handler: "echo", labels: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, ""])) },
      "labels",
    ],
    [
      "a backoff beyond its cap",
      { handler: "echo", retryPolicy: { initialBackoff: "60s", maxBackoff: "1s" } },
      "max_backoff",
    ],
    ["a multiplier below one", { handler: "echo", retryPolicy: { backoffMultiplier: 0.5 } }, "backoff_multiplier"],
  ])("%s", async (_name, body, field) => {
    const answer = await postJson<ErrorBody>(url, "RunService/CreateRun", body);
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
    expect(answer.body.message).toContain(field);
    expect(infoOf(answer.body)).toMatchObject({ reason: "INVALID_REQUEST" });
  });

  test.each(malformedIds())("%s: %s that is no id", async (method, _path, body, field) => {
    const answer = await postJson<ErrorBody>(url, method, body);
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
    expect(answer.body.message).toContain(field);
  });

  test.each(["ws_", "room_1", "ws_a.b", "ws_*", "ws_>", `ws_${"x".repeat(41)}`, "ws_ä"])(
    "the workspace %j",
    async (workspaceId) => {
      const header = Buffer.from(workspaceId).toString("latin1");
      const answer = await postJson<ErrorBody>(url, "RunService/ListRuns", {}, { "x-workspace-id": header });
      expect(answer).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
      expect(answer.body.message).toContain("x-workspace-id");
    },
  );
});

/** Every unary method with each of its ids filled with something else. */
function malformedIds(): [method: string, path: string, body: object, field: string][] {
  // last_run_id is output only.
  const free = new Set(["workspace_id", "worker_id", "correlation_id", "actor_id", "request_id", "last_run_id"]);
  // What a policy is asked about need not be there.
  const isFree = ({ name, parent }: DescField) => free.has(name) || parent.typeName === "signalbox.v1.PolicyContext";
  return methods
    .filter(({ methodKind }) => methodKind === "unary")
    .flatMap((method) =>
      textFields(method.input, (field) => field.name.endsWith("_id") && !isFree(field)).map(
        (path): [string, string, object, string] => {
          const body = path.reduceRight<unknown>(
            (value, { jsonName }) => ({ [jsonName]: value }),
            "no id; drop table runs",
          );
          return [pathOf(method), nameOf(path), body as object, path.at(-1)?.name ?? ""];
        },
      ),
    );
}

describe("positions from the future", () => {
  const far = 2n ** 62n;

  test("are refused where events are read", async () => {
    const head = String(await headPosition(client));
    const future = { code: Code.OutOfRange, reason: "POSITION_IN_FUTURE", metadata: { head_position: head } };
    expect(await refusal(client.events.listEvents({ afterPosition: far }))).toMatchObject(future);
    await using subscription = await subscribed(client, { fromPosition: far });
    expect(await refusal(subscription.ended.then((error) => Promise.reject(error as Error)))).toMatchObject(future);
    expect(subscription.frames).toEqual([]);
  });

  test("make a list wait no longer than its deadline", async () => {
    const lists = [
      client.runs.listRuns({ minPosition: far }, { timeoutMs: 200 }),
      client.agents.listAgents({ minPosition: far }, { timeoutMs: 200 }),
      client.schedules.listSchedules({ minPosition: far }, { timeoutMs: 200 }),
      client.sessions.listSessions({ minPosition: far }, { timeoutMs: 200 }),
      client.events.listEvents({ minPosition: far }, { timeoutMs: 200 }),
    ];
    for (const refused of await Promise.all(lists.map(refusal))) {
      expect(refused).toMatchObject({ code: Code.DeadlineExceeded });
    }
  });

  test("that no 64-bit number holds are refused", async () => {
    const answer = await postJson<ErrorBody>(url, "EventService/ListEvents", { afterPosition: "18446744073709551616" });
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
  });

  test("beyond what the read models can hold are refused like others", async () => {
    const afterPosition = 2n ** 64n - 1n;
    expect(await refusal(client.events.listEvents({ afterPosition }))).toMatchObject({ reason: "POSITION_IN_FUTURE" });
  });
});

describe("a lease token", () => {
  test("that was changed anywhere, cut, made up or left out is refused", async () => {
    const { leaseToken } = await createAndClaim(client, "tampered");
    const bytes = Buffer.from(leaseToken, "base64url");
    const flipped = Array.from({ length: 12 }, (_, n) => {
      const copy = Buffer.from(bytes);
      const at = Math.floor((n * (bytes.length - 1)) / 11);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      return copy.toString("base64url");
    });
    const bad = [...flipped, leaseToken.slice(0, -8), leaseToken.slice(0, 20), "made-up", "%%%", ""];
    for (const token of bad) {
      expect(await refusal(client.engine.heartbeat({ leaseToken: token }))).toMatchObject({
        code: Code.InvalidArgument,
        reason: "INVALID_REQUEST",
      });
    }
    expect(await client.engine.heartbeat({ leaseToken })).toMatchObject({ cancelRequested: false });
  });

  test("of another workspace is refused", async () => {
    const { leaseToken } = await createAndClaim(client, "foreign");
    const other = installation.client({ workspaceId: newWorkspaceId() });
    expect(await refusal(other.engine.completeRun({ leaseToken }))).toMatchObject({ reason: "INVALID_REQUEST" });
    await client.engine.completeRun({ leaseToken });
  });

  test("of another run does not reach into this one", async () => {
    const mine = await createAndClaim(client, "mine");
    const other = await createAndClaim(client, "other");
    const { step } = await client.engine.startStep({ leaseToken: mine.leaseToken, key: "a" });
    const call = client.engine.completeStep({ leaseToken: other.leaseToken, stepId: step?.stepId ?? "" });
    expect(await refusal(call)).toMatchObject({ reason: "STEP_NOT_FOUND" });
  });
});

test("what is not there is NOT_FOUND", async () => {
  const agentId = "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  expect(await refusal(client.runs.getRun({ runId }))).toMatchObject({ code: Code.NotFound, reason: "RUN_NOT_FOUND" });
  expect(await refusal(client.agents.getAgent({ agentId }))).toMatchObject({ reason: "AGENT_NOT_FOUND" });
  expect(await refusal(client.runs.createRun({ agentId }))).toMatchObject({ reason: "AGENT_NOT_FOUND" });
  const scheduleId = "sch_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  expect(await refusal(client.schedules.getSchedule({ scheduleId }))).toMatchObject({ reason: "SCHEDULE_NOT_FOUND" });
  expect(await refusal(client.sessions.getSession({ sessionId: "sess_never" }))).toMatchObject({
    reason: "SESSION_NOT_FOUND",
  });
  const toolCallId = "tc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const { run } = await client.runs.createRun({ handler: "nobody" });
  const reconcile = (id: string) => client.engine.reconcileToolCall({ runId: id, toolCallId, note: "I looked" });
  expect(await refusal(reconcile(runId))).toMatchObject({ code: Code.NotFound, reason: "RUN_NOT_FOUND" });
  expect(await refusal(reconcile(run?.runId ?? ""))).toMatchObject({ reason: "TOOL_CALL_NOT_FOUND" });
  const roomId = "room_never";
  const version = 7n;
  const missing = {
    ROOM_NOT_FOUND: client.rooms.getRoom({ roomId }),
    MESSAGE_NOT_FOUND: client.rooms.getMessage({ messageId: "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
    APPROVAL_NOT_FOUND: client.approvals.getApproval({ approvalId: "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
    INCIDENT_NOT_FOUND: client.incidents.getIncident({ incidentId: "inc_01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
    POLICY_NOT_FOUND: client.policy.getPolicy({ version }),
  };
  for (const [reason, call] of Object.entries(missing)) {
    expect(await refusal(call)).toMatchObject({ code: Code.NotFound, reason });
  }
  const context = { action: { type: "launch" } };
  expect(await refusal(client.policy.evaluate({ context, policyVersion: version }))).toMatchObject({
    reason: "POLICY_NOT_FOUND",
  });
  const eventId = "00000000-0000-4000-8000-000000000000";
  expect(await refusal(client.events.getEvent({ eventId }))).toMatchObject({ reason: "EVENT_NOT_FOUND" });
});

test("a tool call is reconciled by a worker or by a person, not by both and not by nobody", async () => {
  const { leaseToken, run } = await createAndClaim(client, "reconciled");
  const call = { toolCallId: "tc_01ARZ3NDEKTSV4RRFFQ69G5FAV", note: "I looked" };
  for (const who of [{}, { leaseToken, runId: run.runId }]) {
    const refused = await refusal(client.engine.reconcileToolCall({ ...call, ...who }));
    expect(refused).toMatchObject({ reason: "INVALID_REQUEST" });
    expect(refused.message).toContain("exactly one of lease_token and run_id");
  }
});

test("filters that name two aggregates are refused", async () => {
  const filter = { runId, stream: { type: "agent", id: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV" } };
  expect(await refusal(client.events.listEvents({ filter }))).toMatchObject({ reason: "INVALID_REQUEST" });
});

test("a wait of an hour is refused", async () => {
  const call = client.runs.waitRun({ runId, timeout: durationFromMs(3_600_000) });
  expect(await refusal(call)).toMatchObject({ reason: "INVALID_REQUEST" });
});
