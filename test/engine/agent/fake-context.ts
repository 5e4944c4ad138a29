import { create } from "@bufbuild/protobuf";
import { AgentSchema, AgentStatus } from "../../../gen/signalbox/v1/agent_pb.ts";
import { RunSchema, RunStatus } from "../../../gen/signalbox/v1/run_pb.ts";
import { SessionSchema, TurnSchema } from "../../../gen/signalbox/v1/session_pb.ts";
import type { SignalboxClient } from "../../../src/client/client.ts";
import { type JsonValue, jsonValue } from "../../../src/client/json.ts";
import type { HandlerContext } from "../../../src/engine/handler.ts";
import { HandlerError } from "../../../src/engine/handler-error.ts";
import { silentLog } from "../../../src/engine/log.ts";
import type { ModelClient } from "../../../src/models/model.ts";
import { createToolRegistry } from "../../../src/tools/registry.ts";
import type { Tool } from "../../../src/tools/tool.ts";

const agentId = "agt_01HZZZZZZZZZZZZZZZZZZZZZZZ";

/** What a handler of agents finds. */
export interface FakeWorld {
  readonly model: ModelClient;
  readonly tools?: readonly Tool[];
  /** Fields of the agent; undefined for a run without one. */
  readonly agent?: Parameters<typeof create<typeof AgentSchema>>[1];
  readonly otherAgents?: readonly Parameters<typeof create<typeof AgentSchema>>[1][];
  /** Question and answer of the session's turns; with `summary`, those after it. */
  readonly session?: { readonly turns: readonly (readonly [string, string])[]; readonly summary?: string };
  /** What child runs answer, by agent id. */
  readonly children?: Readonly<Record<string, JsonValue | Error>>;
}

/** A context that keeps no record, and what was asked of it. */
export interface FakeContext {
  readonly ctx: HandlerContext;
  /** Commands in the order of the calls, as `kind name`. */
  readonly commands: readonly string[];
  /** What CompactSession was called with. */
  readonly compactions: readonly object[];
}

/** A context for one run, without a worker and a server. */
export function createFakeContext(world: FakeWorld): FakeContext {
  const commands: string[] = [];
  const compactions: object[] = [];
  const signal = new AbortController().signal;
  const tools = createToolRegistry(world.tools ?? []);
  const currentRun = create(RunSchema, {
    runId: "run_01HZZZZZZZZZZZZZZZZZZZZZZZ",
    handler: "agent",
    agentId: world.agent === undefined ? "" : agentId,
    sessionId: world.session === undefined ? "" : "sess_1",
  });
  const context: Partial<HandlerContext> = {
    currentRun,
    signal,
    tools,
    log: silentLog,
    client: fakeClient(world, compactions),
    step: async (name, fn) => {
      commands.push(`step ${name}`);
      return fn({ stepId: "step_1", key: name, attempt: 1, signal, addUsage() {}, emit() {} });
    },
    tool: async (tool: string | Tool, args?: unknown) => {
      const { name, run } = typeof tool === "string" ? { name: tool, run: undefined } : tool;
      commands.push(`tool ${name}`);
      try {
        return (await run?.(args, {} as Parameters<Tool["run"]>[1])) as JsonValue | undefined;
      } catch (error) {
        throw error instanceof HandlerError ? error : new HandlerError("TOOL_FAILED", (error as Error).message);
      }
    },
    model: async (request) => {
      commands.push(`model ${request.model}`);
      return world.model.generate(request, { signal });
    },
    run: async ({ agentId: child = "", input }) => {
      commands.push(`run ${child} ${JSON.stringify(input)}`);
      const output = world.children?.[child];
      if (output instanceof Error) throw output;
      return output;
    },
  };
  return { ctx: context as HandlerContext, commands, compactions };
}

function fakeClient({ agent, otherAgents = [], session }: FakeWorld, compactions: object[]): SignalboxClient {
  const active = { handler: "agent", status: AgentStatus.ACTIVE };
  const agents = [{ agentId, name: "Tester", ...agent }, ...otherAgents].map((fields) =>
    create(AgentSchema, { ...active, ...fields }),
  );
  const compaction =
    session?.summary === undefined ? undefined : { summary: session.summary, turnCount: 7, throughRunId: "run_7" };
  const turns = (session?.turns ?? []).map(([asked, answered], index) =>
    create(TurnSchema, {
      runId: `run_${index}`,
      status: RunStatus.SUCCEEDED,
      input: jsonValue(asked),
      output: jsonValue({ text: answered }),
    }),
  );
  return {
    agents: {
      getAgent: async () => ({ agent: agents[0] }),
      listAgents: async (request: object) => {
        const { items, nextPageToken } = paged(agents, request);
        return { agents: items, nextPageToken };
      },
    },
    sessions: {
      getSession: async () => ({ session: create(SessionSchema, compaction === undefined ? {} : { compaction }) }),
      getSessionHistory: async (request: object) => {
        const { items, nextPageToken } = paged(turns, request);
        return { turns: items, nextPageToken };
      },
      compactSession: async (request: object) => void compactions.push(request),
    },
  } as unknown as SignalboxClient;
}

function paged<T>(items: readonly T[], request: { pageSize?: number; pageToken?: string }) {
  const [from, size] = [Number(request.pageToken ?? ""), request.pageSize ?? 50];
  const nextPageToken = from + size < items.length ? String(from + size) : "";
  return { items: items.slice(from, from + size), nextPageToken };
}
