import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import { ResolveIncidentRequestSchema } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { RunWokenSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Call } from "../../src/kernel/call.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { createIncidents, type Incidents } from "../../src/incidents/incidents.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { createSeeded } from "../support/seeded.ts";
import { project } from "../readmodel/tables.ts";
import { occurrence, runEvent } from "./incidents.ts";

let backend: TestBackend;
beforeAll(async () => {
  backend = await openTestBackend();
});
afterAll(() => backend[Symbol.asyncDispose]());

/** The incidents as another process sees them: with a memory of its own, and tables that are always up to date. */
function openProcess(): Incidents {
  const positions = { reach: () => Promise.resolve() };
  const { log, postgres } = backend;
  return createIncidents({ log, clock: systemClock, ids: randomIds, db: postgres.db, positions });
}

function callIn(workspaceId: string): Call {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "alice" });
  return { workspaceId, principal, correlationId: "corr_1", traceparent: "", signal: new AbortController().signal };
}

const head = async () => (await backend.log.bounds()).head;

async function incidentEvents(workspaceId: string): Promise<Event[]> {
  const filter = backend.log.subjects.view({ workspaceId });
  const records = await Array.fromAsync(backend.log.read(filter, 0n, await head()));
  return records.map(({ event }) => event);
}

/** The most incidents that were open at the same time, of one cause. */
function mostOpen(events: readonly Event[]): number {
  const open = new Map<string, string>();
  let most = 0;
  for (const { payload, stream } of events) {
    if (payload.case === "incidentOpened") open.set(stream?.id ?? "", payload.value.cause);
    if (payload.case === "incidentResolved") open.delete(stream?.id ?? "");
    for (const cause of open.values())
      most = Math.max(most, [...open.values()].filter((each) => each === cause).length);
  }
  return most;
}

function resolve(incidents: Incidents, workspaceId: string, incidentId: string) {
  const request = create(ResolveIncidentRequestSchema, { incidentId, rootCause: "found", learning: "" });
  return incidents.resolve(callIn(workspaceId), request);
}

test("however many processes report at once, one incident of a cause is open, and knows all of it", async () => {
  const workspaceId = newWorkspaceId();
  const processes = Array.from({ length: 4 }, openProcess);
  const at = await head();
  const reported = await Promise.all(
    Array.from({ length: 80 }, (_, i) =>
      processes[i % 4]!.report(
        occurrence(`run_${i % 40}`, { workspaceId }),
        at,
        runEvent({ case: "runWoken", value: create(RunWokenSchema) }),
      ),
    ),
  );
  expect(new Set(reported.map(({ incidentId }) => incidentId)).size).toBe(1);
  expect(reported.filter(({ recorded }) => recorded)).toHaveLength(40);
  const incident = await processes[0]!.get(callIn(workspaceId), reported[0]!.incidentId);
  expect(incident).toMatchObject({ occurrenceCount: 40, status: IncidentStatus.OPEN });
  const [opened] = await incidentEvents(workspaceId);
  expect(opened).toMatchObject({
    actor: { type: PrincipalType.SERVICE, id: "signalbox" },
    causationId: "event-of-run_1",
    correlationId: "corr_1",
    roomId: "room_1",
  });
});

test("reports and resolutions in any order never leave two open, and a repetition of all of it records nothing", async () => {
  const workspaceId = newWorkspaceId();
  const seeded = createSeeded(4);
  const processes = Array.from({ length: 3 }, openProcess);
  const happened: { id: string; at: bigint }[] = [];
  for (let round = 0; round < 12; round++) {
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const one = { id: `run_${round}_${i}`, at: await head() };
        happened.push(one);
        const by = seeded.pick(processes);
        const { incidentId } = await by.report(occurrence(one.id, { workspaceId }), one.at);
        if (seeded.oneIn(5)) await resolve(seeded.pick(processes), workspaceId, incidentId);
      }),
    );
  }
  const events = await incidentEvents(workspaceId);
  expect(events.filter(({ type }) => type === "incident.opened").length).toBeGreaterThan(3);
  expect(mostOpen(events)).toBe(1);
  // A process that has just started, once with empty tables and once with full ones.
  for (const prepare of [async () => undefined, () => projectAll()]) {
    await prepare();
    const late = openProcess();
    for (const { id, at } of happened) await late.report(occurrence(id, { workspaceId }), at);
    expect(await incidentEvents(workspaceId)).toHaveLength(events.length);
  }
});

test("what happens after an incident was resolved opens another one; what had happened before belongs to it", async () => {
  const workspaceId = newWorkspaceId();
  const incidents = openProcess();
  const before = await head();
  const first = await incidents.report(occurrence("run_1", { workspaceId }), before);
  await resolve(incidents, workspaceId, first.incidentId);
  const late = await incidents.report(occurrence("run_2", { workspaceId }), before);
  expect(late).toEqual({ incidentId: first.incidentId, recorded: false, full: false });
  const second = await incidents.report(occurrence("run_3", { workspaceId }), await head());
  expect(second.recorded).toBe(true);
  expect(second.incidentId).not.toBe(first.incidentId);
  // Other causes and other workspaces have incidents of their own.
  const other = await incidents.report(occurrence("run_3", { workspaceId, cause: "other" }), await head());
  const elsewhere = await incidents.report(occurrence("run_3", { workspaceId: newWorkspaceId() }), await head());
  expect(new Set([first, second, other, elsewhere].map(({ incidentId }) => incidentId)).size).toBe(4);
});

test("an incident that records no more says so", async () => {
  const workspaceId = newWorkspaceId();
  const incidents = openProcess();
  const at = await head();
  for (let i = 0; i < 99; i++) await incidents.report(occurrence(`run_${i}`, { workspaceId }), at);
  expect(await incidents.report(occurrence("run_99", { workspaceId }), at)).toMatchObject({
    recorded: true,
    full: true,
  });
  expect(await incidents.report(occurrence("run_100", { workspaceId }), at)).toMatchObject({
    recorded: false,
    full: true,
  });
  expect(await incidentEvents(workspaceId)).toHaveLength(100);
});

async function projectAll(): Promise<void> {
  await project(backend.postgres, await Array.fromAsync(backend.log.read(backend.log.subjects.all, 0n, await head())));
}
