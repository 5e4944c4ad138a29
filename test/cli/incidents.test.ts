import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentKind, IncidentSeverity, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import { ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { valueToJson } from "../../src/client/json.ts";
import { openFakeServer } from "./fake-server.ts";

const incidentId = "inc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const toolCallId = "tc_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const time = timestampFromDate(new Date(Date.UTC(2026, 10, 21, 8)));
const alice = { type: PrincipalType.USER, id: "alice" };
const incident = {
  incidentId,
  title: "Mail went out twice",
  description: "Two of them.",
  severity: IncidentSeverity.HIGH,
  status: IncidentStatus.OPEN,
  kind: IncidentKind.MANUAL,
  occurrenceCount: 2,
  links: [{ type: "run", id: runId }],
  notes: [{ text: "The key differs.", createBy: alice, createTime: time }],
  createTime: time,
  createBy: alice,
};

test("open, ack, note and resolve send what people say", async () => {
  const requests: unknown[] = [];
  const answer = (request: unknown) => {
    requests.push(request);
    return { incident };
  };
  await using server = await openFakeServer({
    incidents: {
      openIncident: answer,
      acknowledgeIncident: answer,
      addIncidentNote: answer,
      resolveIncident: answer,
    },
  });
  const links = ["--link", `run:${runId}`, "--link", "approval:appr_1"];
  await server.json("incidents", "open", "Mail", "--severity", "high", ...links, "--idempotency-key", "k");
  await server.json("incidents", "ack", incidentId, "--comment", "on it");
  await server.json("incidents", "note", incidentId, "The cache was cold");
  await server.json("incidents", "resolve", incidentId, "--root-cause", "two keys", "--learning", "one key");
  expect(requests).toMatchObject([
    {
      title: "Mail",
      severity: IncidentSeverity.HIGH,
      idempotencyKey: "k",
      links: [
        { type: "run", id: runId },
        { type: "approval", id: "appr_1" },
      ],
    },
    { incidentId, comment: "on it" },
    { incidentId, text: "The cache was cold" },
    { incidentId, rootCause: "two keys", learning: "one key" },
  ]);
});

test("show names some of many links, and says how many more there are", async () => {
  const links = Array.from({ length: 100 }, (_, index) => ({ type: "run", id: `run_${index}` }));
  await using server = await openFakeServer({
    incidents: { getIncident: () => ({ incident: { ...incident, links } }) },
  });
  expect(await server.text("incidents", "show", incidentId)).toMatch(/^about +run_0, .*, run_5, and 94 more$/m);
});

test("show tells what happened and what people wrote; ls filters", async () => {
  const requests: unknown[] = [];
  await using server = await openFakeServer({
    incidents: {
      getIncident: () => ({ incident }),
      listIncidents(request) {
        requests.push(request);
        return { incidents: [incident] };
      },
    },
  });
  expect(await server.text("incidents", "show", incidentId)).toMatch(
    /severity +HIGH\n[^]*opened +2026-11-21 08:00:00Z by alice\n[^]*\n\nTwo of them\.\n\n2026-11-21 08:00:00Z by alice\nThe key differs\.\n$/,
  );
  const filters = ["--status", "open,acknowledged", "--kind", "manual", "--min-severity", "medium"];
  expect(await server.text("incidents", "ls", ...filters)).toMatch(
    new RegExp(`^${incidentId} +OPEN +HIGH +MANUAL +2 +2026-11-21 08:00:00Z +Mail went out twice$`, "m"),
  );
  expect(requests).toMatchObject([
    {
      statuses: [IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED],
      kinds: [IncidentKind.MANUAL],
      minSeverity: IncidentSeverity.MEDIUM,
    },
  ]);
});

test("tool calls with an unknown outcome are listed over all runs and reconciled with or without a result", async () => {
  const requests: unknown[] = [];
  const call = { toolCallId, runId, tool: "bank.transfer", effect: ToolEffect.EXTERNAL_WRITE };
  await using server = await openFakeServer({
    runs: {
      listToolCalls(request) {
        requests.push({ runId: request.runId, statuses: request.statuses });
        return { toolCalls: [{ ...call, status: ToolCallStatus.UNKNOWN }] };
      },
    },
    engine: {
      reconcileToolCall({ result, note, leaseToken }) {
        requests.push({ result: valueToJson(result), note, leaseToken });
        return { toolCall: { ...call, status: ToolCallStatus.RECONCILED, note } };
      },
    },
  });
  expect(await server.text("tool-calls", "ls", "--status", "unknown")).toMatch(
    new RegExp(`^${toolCallId} +${runId} +bank\\.transfer +EXTERNAL_WRITE +UNKNOWN`, "m"),
  );
  const reconcile = ["tool-calls", "reconcile", toolCallId, "--run", runId];
  expect(await server.text(...reconcile, "--result", '{"transfer":7}', "--note", "seen")).toMatch(/status +RECONCILED/);
  await server.text(...reconcile, "--no-result", "--note", "not seen");
  expect(requests).toEqual([
    { runId: "", statuses: [ToolCallStatus.UNKNOWN] },
    { result: { transfer: 7 }, note: "seen", leaseToken: "" },
    { result: undefined, note: "not seen", leaseToken: "" },
  ]);
});
