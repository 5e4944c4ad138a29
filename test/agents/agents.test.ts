import { create, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Agent, AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import {
  ArchiveAgentRequestSchema,
  GetAgentRequestSchema,
  ListAgentsRequestSchema,
} from "../../gen/signalbox/v1/agent_service_pb.ts";
import { createAgents } from "../../src/agents/agents.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { callTo, creating, updating } from "./agents.ts";

const unknownId = "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** Agents on a log in memory; `rows` stand in for the read model, `reached` collects the positions waited for. */
function setUp(rows: readonly Agent[] = []) {
  const reached: bigint[] = [];
  const asked: unknown[][] = [];
  const db = {
    query: async ({ values = [] }: { values?: unknown[] }) => {
      asked.push(values);
      const found = rows.map((agent) => ({ create_position: agent.position, resource: toBinary(AgentSchema, agent) }));
      return { rows: found.slice(0, Number(values[3])) };
    },
  } as unknown as Db;
  const positions = { reach: async (position: bigint) => void reached.push(position) };
  const log = createEventLog(createMemoryStore(), createSubjects());
  return { agents: createAgents({ log, clock: systemClock, ids: randomIds, db, positions }), log, reached, asked };
}

const reason = (name: string): unknown => expect.objectContaining({ reason: name });
const naming = (agentId: string) => create(GetAgentRequestSchema, { agentId });
const archiving = (agentId: string) => create(ArchiveAgentRequestSchema, { agentId });
const listing = (fields: object = {}) => create(ListAgentsRequestSchema, fields);

describe("agents", () => {
  test("creates an agent and finds it", async () => {
    const { agents } = setUp();
    const { agent, position } = await agents.create(callTo(), creating());
    expect(agent.agentId).toMatch(/^agt_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
    expect(position).toBe(agent.position);
    expect((await agents.get(callTo(), naming(agent.agentId))).agent).toEqual(agent);
    expect(await agents.find("ws_one", agent.agentId)).toEqual(agent);
  });

  test("answers a repeated create with the same agent and records one event", async () => {
    const { agents, log } = setUp();
    const first = await agents.create(callTo(), creating({ requestId: "r1" }));
    const second = await agents.create(callTo(), creating({ requestId: "r1" }));
    expect(second).toEqual(first);
    expect((await log.bounds()).head).toBe(1n);
  });

  test("refuses a repeated create with another body", async () => {
    const { agents } = setUp();
    await agents.create(callTo(), creating({ requestId: "r1" }));
    const other = agents.create(callTo(), creating({ requestId: "r1", name: "Other" }));
    await expect(other).rejects.toThrow(reason("REQUEST_ID_REUSED"));
  });

  test("gives the same request_id of another workspace an agent of its own", async () => {
    const { agents } = setUp();
    const one = await agents.create(callTo("ws_one"), creating({ requestId: "r1" }));
    const two = await agents.create(callTo("ws_two"), creating({ requestId: "r1" }));
    expect(two.agent.agentId).not.toBe(one.agent.agentId);
  });

  test("creates two agents from two calls without request_id", async () => {
    const { agents } = setUp();
    const one = await agents.create(callTo(), creating());
    const two = await agents.create(callTo(), creating());
    expect(two.agent.agentId).not.toBe(one.agent.agentId);
  });

  test("updates and archives", async () => {
    const { agents } = setUp();
    const { agentId, etag } = (await agents.create(callTo(), creating())).agent;
    const updated = await agents.update(callTo(), updating(["name"], { agentId, etag, name: "Writer" }));
    expect(updated.agent).toMatchObject({ name: "Writer", handler: "agent" });
    expect(updated.agent.etag).not.toBe(etag);
    const archived = await agents.archive(callTo(), archiving(agentId));
    expect(archived.agent).toMatchObject({ name: "Writer", status: AgentStatus.ARCHIVED });
    expect(await agents.archive(callTo(), archiving(agentId))).toEqual(archived);
  });

  test("lets one of two concurrent updates with the same etag win", async () => {
    const { agents } = setUp();
    const { agentId, etag } = (await agents.create(callTo(), creating())).agent;
    const outcomes = await Promise.allSettled(
      ["A", "B"].map((name) => agents.update(callTo(), updating(["name"], { agentId, etag, name }))),
    );
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  test("answers for an agent of another workspace as for one that never was", async () => {
    const { agents } = setUp();
    const { agentId } = (await agents.create(callTo("ws_two"), creating())).agent;
    expect(await agents.find("ws_one", agentId)).toBeUndefined();
    const message = async (id: string) => {
      const attempts = [
        agents.get(callTo(), naming(id)),
        agents.update(callTo(), updating(["name"], { agentId: id, name: "x" })),
        agents.archive(callTo(), archiving(id)),
      ];
      const errors = await Promise.all(attempts.map((attempt) => attempt.catch((error: unknown) => error)));
      return errors.map((error) => String(error).replaceAll(id, "<id>"));
    };
    expect(await message(agentId)).toEqual(await message(unknownId));
    await expect(agents.get(callTo(), naming(agentId))).rejects.toThrow(reason("AGENT_NOT_FOUND"));
  });
});

describe("a schema of an agent", () => {
  test.each(["inputSchema", "outputSchema"])("is taken as %s up to 256 KiB, and refused beyond", async (field) => {
    const { agents } = setUp();
    const described = (bytes: number) => ({ [field]: { description: "x".repeat(bytes) } });
    const { agentId } = (await agents.create(callTo(), creating(described(262_144 - 100)))).agent;
    const tooLarge: unknown = expect.objectContaining({
      reason: "PAYLOAD_TOO_LARGE",
      metadata: { limit: "262144", size: expect.any(String) as string },
    });
    await expect(agents.create(callTo(), creating(described(262_144)))).rejects.toThrow(tooLarge);
    const update = agents.update(callTo(), updating(["name"], { agentId, name: "x", ...described(262_144) }));
    await expect(update).rejects.toThrow(tooLarge);
  });

  const deep = Array.from({ length: 40 }).reduce<JsonObject>((inner) => ({ items: inner }), {});
  test.each([
    ["is nested too deeply", deep],
    ["holds what is no number", { maximum: Number.NaN }],
    ["holds what is endless", { maximum: [Number.POSITIVE_INFINITY] }],
  ])("is refused when it %s, with and without a request_id", async (_what, inputSchema) => {
    const { agents } = setUp();
    for (const requestId of ["", "r1"]) {
      const created = agents.create(callTo(), creating({ requestId, inputSchema }));
      await expect(created).rejects.toThrow(reason("INVALID_REQUEST"));
    }
  });
});

describe("list", () => {
  const rows = [3n, 2n, 1n].map((position) => create(AgentSchema, { agentId: `agt_${position}`, position }));

  test("waits for min_position and reads the caller's workspace", async () => {
    const { agents, reached, asked } = setUp(rows);
    const { agents: found, nextPageToken } = await agents.list(callTo(), listing({ minPosition: 7n }));
    expect(found).toEqual(rows);
    expect(nextPageToken).toBe("");
    expect(reached).toEqual([7n]);
    expect(asked[0]?.[0]).toBe("ws_one");
  });

  test("continues behind the last agent of the page before", async () => {
    const { agents, asked } = setUp(rows);
    const { agents: found, nextPageToken } = await agents.list(callTo(), listing({ pageSize: 2 }));
    expect(found).toEqual(rows.slice(0, 2));
    await agents.list(callTo(), listing({ pageSize: 2, pageToken: nextPageToken }));
    expect(asked[1]?.[1]).toBe(2n);
  });

  test("refuses the page token of another workspace or filter", async () => {
    const { agents } = setUp(rows);
    const { nextPageToken: pageToken } = await agents.list(callTo(), listing({ pageSize: 2 }));
    const statuses = [AgentStatus.ACTIVE];
    await expect(agents.list(callTo("ws_two"), listing({ pageToken }))).rejects.toThrow(reason("INVALID_REQUEST"));
    for (const filter of [{ statuses }, { preset: "assistant_basic" }, { handler: "other" }]) {
      await expect(agents.list(callTo(), listing({ pageToken, ...filter }))).rejects.toThrow(reason("INVALID_REQUEST"));
    }
  });
});
