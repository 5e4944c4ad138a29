import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { type Principal, PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { IncidentKind, IncidentSeverity, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import {
  AcknowledgeIncidentRequestSchema,
  AddIncidentNoteRequestSchema,
  OpenIncidentRequestSchema,
  ResolveIncidentRequestSchema,
} from "../../gen/signalbox/v1/incident_service_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { eventTypes } from "../../src/eventlog/event-type.ts";
import {
  acknowledgeIncident,
  addNote,
  maxNotes,
  maxOccurrences,
  openIncident,
  recordOccurrence,
  resolveIncident,
} from "../../src/incidents/decider.ts";
import { evolveIncidentState, incidentAggregate, type IncidentState } from "../../src/incidents/state.ts";
import { occurrence } from "./incidents.ts";

const incidentId = "inc_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const alice = create(PrincipalSchema, { type: PrincipalType.USER, id: "alice" });
const bob = create(PrincipalSchema, { type: PrincipalType.USER, id: "bob" });
const aliceThroughConsole = create(PrincipalSchema, {
  type: PrincipalType.SERVICE,
  id: "console",
  onBehalfOf: [{ type: PrincipalType.USER, id: "alice" }],
});

const request = create(OpenIncidentRequestSchema, {
  idempotencyKey: "key-1",
  title: "Smoke",
  description: "in the relay room",
  links: [{ type: "run", id: "run_1" }],
});
const newIncident = { incidentId, request, requestDigest: new Uint8Array([1]) };

let position = 0n;

/** The state after a decision; the same state when nothing was decided. */
function after(state: IncidentState, draft: Draft | undefined, actor: Principal = alice): IncidentState {
  if (draft === undefined) return state;
  position += 1n;
  const event = create(EventSchema, {
    workspaceId: "ws_1",
    roomId: "room_1",
    stream: { type: "incident", id: incidentId },
    type: eventTypes[draft.payload.case],
    zone: draft.zone,
    actor,
    position,
    createTime: timestampFromMs(Number(position) * 1_000),
    payload: draft.payload,
  });
  return evolveIncidentState(state, event);
}

const opened = after(incidentAggregate.initial, openIncident(incidentAggregate.initial, newIncident));
const resolution = create(ResolveIncidentRequestSchema, { incidentId, rootCause: "a relay", learning: "look yearly" });
const resolved = after(opened, resolveIncident(opened, resolution));
const note = (text: string) => create(AddIncidentNoteRequestSchema, { incidentId, text });

function known(state: IncidentState) {
  if (state.status === "absent") throw new Error("there is no incident");
  return state.incident;
}

test("an incident opens with what its request says, of medium severity unless it says otherwise", () => {
  expect(known(opened)).toMatchObject({
    title: "Smoke",
    description: "in the relay room",
    severity: IncidentSeverity.MEDIUM,
    status: IncidentStatus.OPEN,
    kind: IncidentKind.MANUAL,
    cause: "",
    occurrenceCount: 1,
    createBy: alice,
    roomId: "room_1",
  });
});

test("opening again with the same body records nothing, with another body it is refused", () => {
  expect(openIncident(opened, newIncident)).toBeUndefined();
  const other = { ...newIncident, requestDigest: new Uint8Array([2]) };
  expect(() => openIncident(opened, other)).toThrow(expect.objectContaining({ reason: "REQUEST_ID_REUSED" }));
});

test("who takes an incident up is on record; doing it twice records nothing", () => {
  const command = create(AcknowledgeIncidentRequestSchema, { incidentId, comment: "on my way" });
  const acknowledged = after(opened, acknowledgeIncident(opened, command), bob);
  expect(known(acknowledged)).toMatchObject({ status: IncidentStatus.ACKNOWLEDGED, acknowledgeBy: bob });
  expect(acknowledgeIncident(acknowledged, command)).toBeUndefined();
  expect(() => acknowledgeIncident(resolved, command)).toThrow(expect.objectContaining({ reason: "INVALID_STATE" }));
});

test("an incident is resolved with words that stay: the same again is fine, others are refused", () => {
  expect(known(resolved)).toMatchObject({
    status: IncidentStatus.RESOLVED,
    rootCause: "a relay",
    learning: "look yearly",
    resolveBy: alice,
  });
  expect(resolveIncident(resolved, resolution)).toBeUndefined();
  const others = { ...resolution, learning: "" };
  expect(() => resolveIncident(resolved, others)).toThrow(expect.objectContaining({ reason: "INVALID_STATE" }));
});

test("what somebody wrote last is not written again, whatever others wrote in between", () => {
  let state = after(resolved, addNote(resolved, note("a"), alice), alice);
  expect(addNote(state, note("a"), aliceThroughConsole)).toBeUndefined();
  state = after(state, addNote(state, note("a"), bob), bob);
  expect(addNote(state, note("a"), alice)).toBeUndefined();
  state = after(state, addNote(state, note("b"), alice), alice);
  state = after(state, addNote(state, note("a"), alice), alice);
  expect(known(state).notes.map(({ text, createBy }) => `${createBy?.id}: ${text}`)).toEqual([
    "alice: a",
    "bob: a",
    "alice: b",
    "alice: a",
  ]);
});

test("an incident holds 500 notes, and a MiB of them", () => {
  let state = opened;
  for (let i = 0; i < maxNotes; i++) state = after(state, addNote(state, note(`note ${i}`), alice));
  const refused: unknown = expect.objectContaining({ reason: "QUOTA_EXCEEDED", metadata: { limit: "500" } });
  expect(() => addNote(state, note("one more"), alice)).toThrow(refused);
  let long = opened;
  for (let i = 0; i < 104; i++) long = after(long, addNote(long, note(`${i}`.padEnd(10_000, "x")), alice));
  expect(() => addNote(long, note("y".repeat(10_000)), alice)).toThrow(
    expect.objectContaining({ reason: "QUOTA_EXCEEDED", metadata: { limit: "1048576" } }),
  );
});

test("a command to an incident that is not there is refused", () => {
  const absent = incidentAggregate.initial;
  const refused: unknown = expect.objectContaining({ reason: "INCIDENT_NOT_FOUND" });
  expect(() => acknowledgeIncident(absent, create(AcknowledgeIncidentRequestSchema, { incidentId }))).toThrow(refused);
  expect(() => addNote(absent, note("a"), alice)).toThrow(refused);
  expect(() => resolveIncident(absent, resolution)).toThrow(refused);
});

test("the same cause again is the same incident: a hundred occurrences are recorded, then it is silent", () => {
  let state: IncidentState = incidentAggregate.initial;
  for (let i = 0; i < maxOccurrences + 20; i++) state = after(state, recordOccurrence(state, occurrence(`run_${i}`)));
  expect(known(state)).toMatchObject({ occurrenceCount: maxOccurrences });
  expect(known(state).links).toHaveLength(100);
  expect(recordOccurrence(state, occurrence("run_new"))).toBeUndefined();
});

test("an occurrence that an incident knows is recorded once", () => {
  const state = after(incidentAggregate.initial, recordOccurrence(incidentAggregate.initial, occurrence("run_1")));
  expect(recordOccurrence(state, occurrence("run_1"))).toBeUndefined();
  const again = after(state, recordOccurrence(state, occurrence("run_2")));
  expect(recordOccurrence(again, occurrence("run_1"))).toBeUndefined();
  expect(recordOccurrence(again, occurrence("run_2"))).toBeUndefined();
  expect(recordOccurrence(again, occurrence("run_3"))?.zone).toBe(Zone.SUPERVISED);
});

test("a resolved incident takes no occurrence", () => {
  expect(recordOccurrence(resolved, occurrence("run_9"))).toBeUndefined();
});
