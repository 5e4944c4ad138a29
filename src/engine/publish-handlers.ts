import { isDeepStrictEqual } from "node:util";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Agent, type AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { isTransient } from "../client/reason.ts";
import type { DefinedHandler } from "./define-handler.ts";
import { HandlerError } from "./handler-error.ts";

type Agents = Pick<SignalboxClient["agents"], "createAgent" | "updateAgent">;

/**
 * Publishes a handler as the agent that its `agent` describes: one per workspace and handler name, whoever starts it first.
 * What people change of it later stays; the schemas are those of the handler, as long as the agent is not archived. Repeats
 * what may pass until the signal aborts; throws what the server refuses.
 */
export async function publishHandler(
  agents: Agents,
  name: string,
  handler: DefinedHandler,
  signal: AbortSignal,
): Promise<void> {
  // Always the same request, so that it can be repeated whatever has become of the definition since.
  const request = { requestId: `handler/${name}`, name, handler: name };
  const { agent } = await insist(() => agents.createAgent(request, { signal }), signal);
  if (agent === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer to CreateAgent has no agent");
  if (agent.status === AgentStatus.ARCHIVED) return;
  const change = changeOf(agent, handler);
  const paths = Object.keys(change).map((field) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  if (paths.length === 0) return;
  const update = { agent: { ...change, agentId: agent.agentId }, updateMask: { paths } };
  await insist(() => agents.updateAgent(update, { signal }), signal);
}

/** The fields to set: all that the definition names while nobody has changed the agent, later the schemas that differ. */
function changeOf(agent: Agent, { agent: definition = {}, inputSchema, outputSchema }: DefinedHandler) {
  const { tools, ...rest } = definition;
  const fields = { ...rest, ...(tools === undefined ? {} : { tools: [...tools] }) };
  const wanted: Partial<MessageInitShape<typeof AgentSchema>> = isUntouched(agent) ? present(fields) : {};
  return {
    ...wanted,
    ...(sameSchema(agent.inputSchema, inputSchema) ? {} : { inputSchema }),
    ...(sameSchema(agent.outputSchema, outputSchema) ? {} : { outputSchema }),
  };
}

function isUntouched({ createTime, updateTime }: Agent): boolean {
  return createTime === undefined || updateTime === undefined || timestampMs(updateTime) <= timestampMs(createTime);
}

function present<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function sameSchema(a: JsonObject | undefined, b: JsonObject | undefined): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

/** Without prototypes, which differ between what was decoded and what was made here. */
function plain(schema: JsonObject | undefined): unknown {
  return schema && JSON.parse(JSON.stringify(schema));
}

async function insist<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const backoff = createBackoff(100, 5_000);
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (signal.aborted || !isTransient(error)) throw error;
      await pause(backoff.next(), signal);
    }
  }
}
