import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { IncidentKind, IncidentSeverity, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import { MessagePostedSchema } from "../../gen/signalbox/v1/room_event_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { claim, createAndClaim } from "../e2e/claims.ts";
import { openHands } from "../e2e/hands.ts";
import { createRun, ended } from "../e2e/runs.ts";
import { createAppender } from "../support/appender.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { incidentsOnce } from "./incidents.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation({ servers: 2, leaseTtlMs: 1_000 });
});
afterAll(() => installation[Symbol.asyncDispose]());

/** Creates runs of a handler that fail for the last time, and waits until they have. */
async function failRuns(client: SignalboxClient, count: number, code = "BROKEN"): Promise<string[]> {
  await using _hands = openHands(client, {
    count: 8,
    handlers: ["flaky"],
    work: async ({ leaseToken }) => {
      await client.engine.failRun({ leaseToken, error: { code, message: "no", retryable: true } });
      return false;
    },
  });
  const request = { handler: "flaky", roomId: "room_yard", retryPolicy: { maxAttempts: 1 } };
  const runIds = await Promise.all(Array.from({ length: count }, () => createRun(client, request)));
  await Promise.all(runIds.map((runId) => ended(client, runId)));
  return runIds;
}

/** Resolves once every reaction to what has happened so far in the client's workspace is on record. */
async function reactionsDone(client: SignalboxClient): Promise<void> {
  const roomId = `room_${randomIds.next("corr").slice(5)}`;
  const workspaceId = newWorkspaceId();
  // Reactions follow the order of the log: when this one is there, so are those before it.
  await post(workspaceId, roomId);
  await incidentsOnce(installation.client({ workspaceId }), 1);
  await client.incidents.listIncidents({ minPosition: (await installation.backend.log.bounds()).head });
}

/** Appends a message that mentions agents which get no run. */
function post(workspaceId: string, roomId: string) {
  const value = create(MessagePostedSchema, { text: "@a @b", mentionDepth: 8, mentionsRefused: true });
  const stream = { id: randomIds.next("msg"), type: "message", workspaceId, roomId };
  return createAppender(installation.backend.log).append(stream, { case: "messagePosted", value });
}

async function eventsOf(client: SignalboxClient, incidentId: string): Promise<Event[]> {
  const { head } = await installation.backend.log.bounds();
  const filter = { stream: { type: "incident", id: incidentId } };
  return (await client.events.listEvents({ filter, minPosition: head, pageSize: 200 })).events;
}

test("fifty runs that use up their attempts alike are one incident, in their room, with fifty occurrences", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const runIds = await failRuns(client, 50);
  await reactionsDone(client);
  const { incidents } = await client.incidents.listIncidents({});
  expect(incidents).toHaveLength(1);
  const [incident] = incidents;
  expect(incident).toMatchObject({
    kind: IncidentKind.ATTEMPTS_EXHAUSTED,
    cause: "attempts_exhausted/flaky/BROKEN",
    roomId: "room_yard",
    status: IncidentStatus.OPEN,
    occurrenceCount: 50,
  });
  const events = await eventsOf(client, incident?.incidentId ?? "");
  expect(events.map(({ type }) => type)).toEqual([
    "incident.opened",
    ...Array.from({ length: 49 }, () => "incident.recurred"),
  ]);
  const linked = events.flatMap(({ payload }) =>
    payload.case === "incidentOpened" || payload.case === "incidentRecurred" ? payload.value.links : [],
  );
  expect(new Set(linked.filter(({ type }) => type === "run").map(({ id }) => id))).toEqual(new Set(runIds));
  // Each follows from the event that says so, and belongs to what that run's creation set in motion.
  const { events: failed } = await client.events.listEvents({ filter: { types: ["run.failed"] }, pageSize: 200 });
  const correlation = new Map(failed.map(({ eventId, correlationId }) => [eventId, correlationId]));
  expect(new Set(events.map(({ causationId }) => causationId))).toEqual(new Set(correlation.keys()));
  for (const { causationId, correlationId } of events) expect(correlationId).toBe(correlation.get(causationId));
});

test("after an incident is resolved the same again opens another one, and another error code has its own", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  await failRuns(client, 3);
  const [first] = await incidentsOnce(client, 1);
  await reactionsDone(client);
  await client.incidents.resolveIncident({ incidentId: first?.incidentId ?? "", rootCause: "found" });
  await failRuns(client, 2);
  await failRuns(client, 1, "OTHER");
  await reactionsDone(client);
  const { incidents } = await client.incidents.listIncidents({});
  expect(
    incidents.toReversed().map(({ cause, status, occurrenceCount }) => ({ cause, status, occurrenceCount })),
  ).toEqual([
    { cause: "attempts_exhausted/flaky/BROKEN", status: IncidentStatus.RESOLVED, occurrenceCount: 3 },
    { cause: "attempts_exhausted/flaky/BROKEN", status: IncidentStatus.OPEN, occurrenceCount: 2 },
    { cause: "attempts_exhausted/flaky/OTHER", status: IncidentStatus.OPEN, occurrenceCount: 1 },
  ]);
});

test("what happened while nobody reacted is made up for, and every restart after that changes nothing", async () => {
  await using own = await openInstallation();
  const [server] = own.servers;
  const client = own.client({ workspaceId: newWorkspaceId() });
  const retryPolicy = { maxAttempts: 1 };
  const claims = [];
  for (let i = 0; i < 3; i++) {
    await client.runs.createRun({ handler: "flaky", retryPolicy });
    claims.push(await claim(client, "flaky"));
  }
  const fail = ({ leaseToken }: { leaseToken: string }) =>
    client.engine.failRun({ leaseToken, error: { code: "BROKEN", message: "no", retryable: true } });
  await server?.stop();
  await server?.start(new Set(["server", "projector"]));
  for (const each of claims.slice(0, 2)) await fail(each);
  expect(
    (await client.incidents.listIncidents({ minPosition: (await own.backend.log.bounds()).head })).incidents,
  ).toEqual([]);
  await server?.stop();
  await server?.start();
  const incident = await until(
    async () =>
      (await client.incidents.listIncidents({})).incidents.find(({ occurrenceCount }) => occurrenceCount === 2),
    { what: "both failures to be on record" },
  );
  const { position } = await client.incidents.resolveIncident({ incidentId: incident.incidentId, rootCause: "found" });
  for (let i = 0; i < 2; i++) {
    await server?.stop();
    await server?.start();
  }
  // Whoever has begun anew has looked at everything before this one.
  await fail(claims[2]!);
  await until(
    async () =>
      (await client.incidents.listIncidents({})).incidents.some(({ incidentId }) => incidentId !== incident.incidentId),
    { what: "the incident of the failure after the resolution" },
  );
  const { events } = await client.events.listEvents({ filter: { types: ["incident.*"] }, afterPosition: position });
  expect(events.map(({ type }) => type)).toEqual(["incident.opened"]);
});

test("writes that a kill switch stops are one incident of its flip; the next flip has its own", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const epochs: bigint[] = [];
  for (const writes of [2, 1]) {
    await client.policy.setKillSwitch({ on: true, reason: "smoke" });
    epochs.push((await client.policy.getKillSwitch({})).killEpoch);
    for (let i = 0; i < writes; i++) {
      const { leaseToken } = await createAndClaim(client);
      expect(await refusal(write(client, leaseToken, "left"))).toBe("KILL_SWITCH_ON");
      await client.engine.releaseRun({ leaseToken });
    }
    await client.policy.setKillSwitch({ on: false });
  }
  await reactionsDone(client);
  const { incidents } = await client.incidents.listIncidents({});
  expect(incidents.map(({ cause, occurrenceCount }) => ({ cause, occurrenceCount }))).toEqual([
    { cause: `kill_switch/${epochs[1]}`, occurrenceCount: 1 },
    { cause: `kill_switch/${epochs[0]}`, occurrenceCount: 2 },
  ]);
  expect(incidents[0]).toMatchObject({ kind: IncidentKind.KILL_SWITCH, severity: IncidentSeverity.HIGH });
});

test("a call that is asked for again with other arguments than people were shown is an incident", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { run, leaseToken } = await createAndClaim(client);
  expect(await refusal(write(client, leaseToken, "left"))).toBe("APPROVAL_REQUIRED");
  expect(await refusal(write(client, leaseToken, "right"))).toBe("PAYLOAD_MISMATCH");
  const [incident] = await incidentsOnce(client, 1);
  expect(incident).toMatchObject({ kind: IncidentKind.HASH_MISMATCH, cause: "payload_mismatch/by_hand/points.move" });
  expect(incident?.links[0]).toMatchObject({ type: "run", id: run.runId });
});

/** Wants to move points, which is an external write. */
function write(client: SignalboxClient, leaseToken: string, to: string) {
  const request = { leaseToken, key: "move", tool: "points.move", effect: ToolEffect.EXTERNAL_WRITE };
  return client.engine.startToolCall({ ...request, arguments: { kind: { case: "stringValue", value: to } } });
}

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => "fine",
    (error: unknown) => reasonOf(error),
  );

test("agents that mention each other without end are one incident of their room", async () => {
  const workspaceId = newWorkspaceId();
  const client = installation.client({ workspaceId });
  for (let i = 0; i < 3; i++) await post(workspaceId, "room_yard");
  await reactionsDone(client);
  const { incidents } = await client.incidents.listIncidents({ roomId: "room_yard" });
  expect(incidents).toMatchObject([{ kind: IncidentKind.MENTION_LOOP, occurrenceCount: 3 }]);
});

test("a tool call whose outcome nobody knows is an incident of its tool", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { run, leaseToken } = await createAndClaim(client);
  const { toolCall } = await client.engine.startToolCall({
    leaseToken,
    key: "once",
    tool: "notes.write",
    effect: ToolEffect.WRITE,
    reversible: true,
  });
  await client.engine.releaseRun({ leaseToken });
  const [incident] = await incidentsOnce(client, 1);
  expect(incident).toMatchObject({ kind: IncidentKind.OUTCOME_UNKNOWN, cause: "outcome_unknown/notes.write" });
  expect(incident?.links.slice(0, 2)).toMatchObject([
    { type: "run", id: run.runId },
    { type: "tool_call", id: toolCall?.toolCallId },
  ]);
});

test("a worker that writes after its lease was over is an incident, once for a run however often it writes", async () => {
  const client = installation.client({ workspaceId: newWorkspaceId() });
  const { run, leaseToken } = await createAndClaim(client);
  const { leaseToken: next } = await claim(client, "by_hand", "another");
  const writes = await Promise.all(
    Array.from({ length: 20 }, () =>
      client.engine.completeRun({ leaseToken }).then(
        () => "fine",
        (error: unknown) => reasonOf(error),
      ),
    ),
  );
  expect(new Set(writes)).toEqual(new Set(["LEASE_LOST"]));
  await client.engine.completeRun({ leaseToken: next });
  const [incident, ...others] = await incidentsOnce(client, 1);
  expect(others).toEqual([]);
  expect(incident).toMatchObject({
    kind: IncidentKind.FENCED_WRITE,
    cause: "fenced_write/by_hand",
    links: [{ type: "run", id: run.runId }],
    occurrenceCount: 1,
  });
});

test("an event that is not what its hash says is a critical incident", async () => {
  await using own = await openInstallation();
  const workspaceId = newWorkspaceId();
  const client = own.client({ workspaceId });
  const publication = createAppender(own.backend.log).publication({ id: randomIds.next("run"), workspaceId });
  await own.backend.store.publish({ ...publication, hash: new Uint8Array(32).fill(7) });
  expect(await incidentsOnce(client, 1)).toMatchObject([
    {
      kind: IncidentKind.HASH_MISMATCH,
      severity: IncidentSeverity.CRITICAL,
      links: [{ type: "event", id: publication.eventId }],
    },
  ]);
});
