import { afterAll, beforeAll, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentKind, IncidentSeverity, IncidentStatus } from "../../gen/signalbox/v1/incident_pb.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { type Installation, newWorkspaceId, openInstallation } from "../support/installation.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation({ servers: 2 });
});
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = (workspaceId = newWorkspaceId()): SignalboxClient => installation.client({ workspaceId });

async function open(client: SignalboxClient, given: Parameters<SignalboxClient["incidents"]["openIncident"]>[0] = {}) {
  const { incident, position } = await client.incidents.openIncident({ title: "Smoke", ...given });
  if (incident === undefined) throw new Error("OpenIncident answered without an incident");
  return { ...incident, position };
}

const reasonsOf = (calls: readonly Promise<unknown>[]) =>
  Promise.all(
    calls.map((call) =>
      call.then(
        () => "fine",
        (error: unknown) => reasonOf(error),
      ),
    ),
  );

test("an incident goes from open to resolved, and says who did what", async () => {
  const client = newClient();
  const links = [{ type: "run", id: "run_1" }];
  const { incidentId } = await open(client, {
    title: "Smoke",
    roomId: "room_yard",
    links,
    severity: IncidentSeverity.HIGH,
  });
  await client.incidents.acknowledgeIncident({ incidentId, comment: "on my way" });
  await client.incidents.addIncidentNote({ incidentId, text: "a relay is burnt" });
  await client.incidents.addIncidentNote({ incidentId, text: "a relay is burnt" });
  await client.incidents.resolveIncident({ incidentId, rootCause: "a relay", learning: "look yearly" });
  const { position } = await client.incidents.addIncidentNote({ incidentId, text: "replaced" });
  const { incident } = await client.incidents.getIncident({ incidentId });
  const local = { type: PrincipalType.USER, id: "local" };
  expect(incident).toMatchObject({
    title: "Smoke",
    roomId: "room_yard",
    severity: IncidentSeverity.HIGH,
    status: IncidentStatus.RESOLVED,
    kind: IncidentKind.MANUAL,
    links,
    rootCause: "a relay",
    learning: "look yearly",
    createBy: local,
    acknowledgeBy: local,
    resolveBy: local,
    notes: [
      { text: "a relay is burnt", createBy: local },
      { text: "replaced", createBy: local },
    ],
    position,
  });
  const { events } = await client.events.listEvents({ filter: { roomId: "room_yard" }, minPosition: position });
  expect(events.map(({ type }) => type)).toEqual([
    "incident.opened",
    "incident.acknowledged",
    "incident.note_added",
    "incident.resolved",
    "incident.note_added",
  ]);
});

test("the same idempotency key opens one incident, on whatever server, and is refused with another body", async () => {
  const workspaceId = newWorkspaceId();
  const clients = installation.servers.map(({ url }) => installation.client({ baseUrl: url, workspaceId }));
  const opened = await Promise.all(
    Array.from({ length: 20 }, (_, i) => open(clients[i % 2]!, { idempotencyKey: "key-1", description: "dense" })),
  );
  expect(new Set(opened.map(({ incidentId }) => incidentId)).size).toBe(1);
  const [client] = clients;
  const refused = client!.incidents.openIncident({ idempotencyKey: "key-1", title: "Fire" });
  const inAnotherRoom = client!.incidents.openIncident({ idempotencyKey: "key-1", title: "Smoke", roomId: "room_b" });
  expect(await reasonsOf([refused, inAnotherRoom])).toEqual(["REQUEST_ID_REUSED", "REQUEST_ID_REUSED"]);
  const { incidents } = await client!.incidents.listIncidents({ minPosition: opened[0]!.position });
  expect(incidents).toHaveLength(1);
});

test("lists keep what their filters name, newest first, page by page", async () => {
  const client = newClient();
  const low = await open(client, { severity: IncidentSeverity.LOW });
  const medium = await open(client, { roomId: "room_yard" });
  const high = await open(client, { severity: IncidentSeverity.HIGH, roomId: "room_yard" });
  const { position: minPosition } = await client.incidents.resolveIncident({
    incidentId: high.incidentId,
    rootCause: "x",
  });
  const ids = async (request: Parameters<SignalboxClient["incidents"]["listIncidents"]>[0]) => {
    const { incidents } = await client.incidents.listIncidents({ minPosition, ...request });
    return incidents.map(({ incidentId }) => incidentId);
  };
  expect(await ids({})).toEqual([high, medium, low].map(({ incidentId }) => incidentId));
  expect(await ids({ minSeverity: IncidentSeverity.MEDIUM })).toEqual([high.incidentId, medium.incidentId]);
  expect(await ids({ roomId: "room_yard", statuses: [IncidentStatus.OPEN] })).toEqual([medium.incidentId]);
  expect(await ids({ kinds: [IncidentKind.FENCED_WRITE] })).toEqual([]);
  const page = await client.incidents.listIncidents({ minPosition, pageSize: 2 });
  const { incidents } = await client.incidents.listIncidents({
    minPosition,
    pageSize: 2,
    pageToken: page.nextPageToken,
  });
  expect(incidents.map(({ incidentId }) => incidentId)).toEqual([low.incidentId]);
});

test("an incident of another workspace is answered like one that never was", async () => {
  const { incidentId } = await open(newClient());
  const { incidents } = newClient();
  const answers = await reasonsOf([
    incidents.getIncident({ incidentId }),
    incidents.acknowledgeIncident({ incidentId }),
    incidents.addIncidentNote({ incidentId, text: "a" }),
    incidents.resolveIncident({ incidentId, rootCause: "a" }),
    incidents.getIncident({ incidentId: "inc_01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
  ]);
  expect(new Set(answers)).toEqual(new Set(["INCIDENT_NOT_FOUND"]));
  expect((await incidents.listIncidents({})).incidents).toEqual([]);
});

test("what makes no sense is refused and names the field", async () => {
  const { incidents } = newClient();
  const answers = await reasonsOf([
    incidents.openIncident({ title: "" }),
    incidents.openIncident({ title: "a".repeat(301) }),
    incidents.openIncident({ title: "Smoke", links: [{ type: "planet", id: "mars" }] }),
    incidents.openIncident({ title: "Smoke", severity: 9 as IncidentSeverity }),
    incidents.getIncident({ incidentId: "run_1" }),
    incidents.listIncidents({ statuses: [IncidentStatus.UNSPECIFIED] }),
    incidents.listIncidents({ pageToken: "nonsense" }),
  ]);
  expect(new Set(answers)).toEqual(new Set(["INVALID_REQUEST"]));
});
