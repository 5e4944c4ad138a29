import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { type Agent, AgentLimitsSchema, AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { archiveAgent, createAgent, updateAgent } from "../../src/agents/decider.ts";
import { type AgentState, evolveAgentState } from "../../src/agents/state.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { creating } from "./agents.ts";

const agentId = "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const absent: AgentState = { status: "absent" };
const digest = new Uint8Array([1, 2, 3]);

/** The state after a decision, given the state before. */
function after(state: AgentState, draft: Draft | undefined): AgentState {
  if (draft === undefined) throw new Error("nothing was decided");
  const sequence = state.status === "absent" ? 1n : BigInt(state.agent.etag) + 1n;
  return evolveAgentState(
    state,
    create(EventSchema, {
      position: sequence * 10n,
      workspaceId: "ws_one",
      stream: { type: "agent", id: agentId },
      streamSequence: sequence,
      actor: { type: PrincipalType.USER, id: "user_1" },
      createTime: timestampFromDate(new Date(Number(sequence) * 1000)),
      payload: draft.payload,
    }),
  );
}

function created(): AgentState {
  return after(absent, createAgent(absent, { agentId, request: creating(), requestDigest: digest }));
}

function agentOf(state: AgentState): Agent {
  if (state.status === "absent") throw new Error("the agent is absent");
  return state.agent;
}

function change(state: AgentState, paths: string[], fields: MessageInitShape<typeof AgentSchema>) {
  return updateAgent(state, { agent: create(AgentSchema, { ...fields, agentId }), paths });
}

const reason = (name: string): unknown => expect.objectContaining({ reason: name });

describe("createAgent", () => {
  test("records the configuration with every default filled in", () => {
    const agent = agentOf(created());
    expect(agent).toMatchObject({
      agentId,
      workspaceId: "ws_one",
      name: "Researcher",
      status: AgentStatus.ACTIVE,
      handler: "agent",
      zone: Zone.SANDBOX,
      etag: "1",
      position: 10n,
      createBy: { id: "user_1" },
    });
    expect(agent.updateTime).toEqual(agent.createTime);
  });

  test("keeps what the request says", () => {
    const request = creating({
      handler: "research",
      zone: Zone.HIGH_STAKES,
      tools: ["search"],
      limits: { maxDuration: { seconds: 60n } },
    });
    const draft = createAgent(absent, { agentId, request, requestDigest: digest });
    expect(draft?.zone).toBe(Zone.HIGH_STAKES);
    expect(agentOf(after(absent, draft))).toMatchObject({
      handler: "research",
      zone: Zone.HIGH_STAKES,
      tools: ["search"],
      limits: { maxDuration: { seconds: 60n } },
    });
  });

  test("keeps memory, schemas and every limit, and fills in how many turns memory keeps", () => {
    const limits = { budget: { maxTokens: 1000n }, maxRunning: 2, maxTurns: 8 };
    const inputSchema = { type: "object", required: ["topic"] };
    const request = creating({ limits, memory: { sessionHistory: true }, inputSchema, outputSchema: {} });
    expect(agentOf(after(absent, createAgent(absent, { agentId, request, requestDigest: digest })))).toMatchObject({
      limits,
      memory: { sessionHistory: true, compactAfterTokens: 0, keepTurns: 4 },
      inputSchema,
      outputSchema: {},
    });
  });

  test("records nothing the second time", () => {
    expect(createAgent(created(), { agentId, request: creating(), requestDigest: digest })).toBeUndefined();
  });

  test("refuses a request_id that was used with another body", () => {
    const request = creating({ requestId: "r1", name: "Other" });
    const again = () => createAgent(created(), { agentId, request, requestDigest: new Uint8Array([9]) });
    expect(again).toThrow(reason("REQUEST_ID_REUSED"));
  });

  test("refuses an empty name", () => {
    const unnamed = () => createAgent(absent, { agentId, request: creating({ name: "" }), requestDigest: digest });
    expect(unnamed).toThrow(reason("INVALID_REQUEST"));
  });
});

describe("updateAgent", () => {
  test("takes only the fields that the mask names", () => {
    const state = after(
      created(),
      change(created(), ["model"], { model: "large", name: "ignored", tools: ["ignored"] }),
    );
    expect(agentOf(state)).toMatchObject({ name: "Researcher", model: "large", tools: [], etag: "2", position: 20n });
    expect(agentOf(state).createTime).toEqual(agentOf(created()).createTime);
    expect(agentOf(state).updateTime).not.toEqual(agentOf(created()).updateTime);
  });

  test("records nothing the second time, even with the etag of the first", () => {
    const first = { model: "large", etag: "1" };
    const state = after(created(), change(created(), ["model"], first));
    expect(change(state, ["model"], first)).toBeUndefined();
  });

  test("records nothing when nothing changes", () => {
    expect(change(created(), ["name", "status"], { name: "Researcher", status: AgentStatus.ACTIVE })).toBeUndefined();
  });

  test("refuses an etag from before the last change", () => {
    const state = after(created(), change(created(), ["model"], { model: "large" }));
    expect(() => change(state, ["model"], { model: "small", etag: "1" })).toThrow(reason("ETAG_MISMATCH"));
    expect(change(state, ["model"], { model: "small", etag: "2" })).toBeDefined();
  });

  test("pauses and activates again", () => {
    const paused = after(created(), change(created(), ["status"], { status: AgentStatus.PAUSED }));
    expect(paused.status).toBe("paused");
    expect(change(paused, ["status"], { status: AgentStatus.PAUSED })).toBeUndefined();
    const active = after(paused, change(paused, ["status"], { status: AgentStatus.ACTIVE }));
    expect(active.status).toBe("active");
  });

  test("falls back to the default handler and zone", () => {
    const request = creating({ handler: "research", zone: Zone.SUPERVISED });
    const state = after(absent, createAgent(absent, { agentId, request, requestDigest: digest }));
    expect(agentOf(after(state, change(state, ["handler", "zone"], {})))).toMatchObject({
      handler: "agent",
      zone: Zone.SANDBOX,
    });
  });

  test("clears a message field that the mask names", () => {
    const limited = after(
      created(),
      change(created(), ["limits"], { limits: create(AgentLimitsSchema, { maxDuration: { seconds: 60n } }) }),
    );
    expect(agentOf(limited).limits).toBeDefined();
    expect(agentOf(after(limited, change(limited, ["limits"], {}))).limits).toBeUndefined();
  });

  test("takes memory and schemas, and records nothing the second time", () => {
    const paths = ["memory", "input_schema", "output_schema"];
    const fields = { memory: { keepTurns: 2 }, inputSchema: { type: "string" }, outputSchema: { type: "object" } };
    const wanted = create(AgentSchema, { ...fields, agentId });
    const state = after(created(), updateAgent(created(), { agent: wanted, paths }));
    expect(agentOf(state)).toMatchObject(fields);
    expect(updateAgent(state, { agent: wanted, paths })).toBeUndefined();
    const cleared = after(state, change(state, ["memory", "input_schema"], {}));
    expect(agentOf(cleared)).toMatchObject({
      memory: undefined,
      inputSchema: undefined,
      outputSchema: { type: "object" },
    });
  });

  test.each([
    { what: "an empty mask", paths: [], fields: {} },
    { what: "a part of a field", paths: ["limits.max_duration"], fields: {} },
    { what: "a field of Object", paths: ["constructor"], fields: {} },
    { what: "a field that is output only", paths: ["agent_id"], fields: {} },
    { what: "an empty name", paths: ["name"], fields: {} },
    { what: "archiving", paths: ["status"], fields: { status: AgentStatus.ARCHIVED } },
    { what: "no status", paths: ["status"], fields: {} },
  ])("refuses $what", ({ paths, fields }) => {
    expect(() => change(created(), paths, fields)).toThrow(reason("INVALID_REQUEST"));
  });

  test("refuses an agent that is absent or archived", () => {
    expect(() => change(absent, ["name"], { name: "x" })).toThrow(reason("AGENT_NOT_FOUND"));
    const archived = after(created(), archiveAgent(created(), agentId));
    expect(() => change(archived, ["name"], { name: "Researcher" })).toThrow(reason("INVALID_STATE"));
  });
});

describe("archiveAgent", () => {
  test("archives for good, and records nothing the second time", () => {
    const archived = after(created(), archiveAgent(created(), agentId));
    expect(archived.status).toBe("archived");
    expect(agentOf(archived).status).toBe(AgentStatus.ARCHIVED);
    expect(archiveAgent(archived, agentId)).toBeUndefined();
  });

  test("refuses an agent that is absent", () => {
    expect(() => archiveAgent(absent, agentId)).toThrow(reason("AGENT_NOT_FOUND"));
  });
});
