import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CreateAgentRequestSchema } from "../../../gen/signalbox/v1/agent_service_pb.ts";
import { starterCollection } from "./starter-documents.ts";

/** What creates an agent, made for CreateAgent. */
export type PresetRequest = MessageInitShape<typeof CreateAgentRequestSchema> & { readonly preset: string };

// The request_id makes creating repeatable. Whoever changes a preset raises its version: the same id with another body is refused.
const common = {
  handler: "agent",
  memory: { sessionHistory: true, compactAfterTokens: 24_000, keepTurns: 6 },
  limits: { maxTurns: 16, budget: { maxTokens: 400_000n, maxToolCalls: 100n } },
} as const;

/** The agents that come with Signalbox, by name. They leave the model to the worker. */
export const presets = {
  assistant_basic: {
    ...common,
    requestId: "preset/assistant_basic/1",
    preset: "assistant_basic",
    name: "Assistant",
    instructions:
      "You are a helpful assistant. Answer briefly and to the point; say so when you do not know something.",
  },
  assistant_tools: {
    ...common,
    requestId: "preset/assistant_tools/1",
    preset: "assistant_tools",
    name: "Assistant with tools",
    instructions:
      "You are a helpful assistant with tools. Calculate with the calculator, never in your head, and ask for the time when it matters. Answer briefly.",
    tools: ["calculator", "time.now", "time.convert"],
  },
  assistant_rag: {
    ...common,
    requestId: "preset/assistant_rag/1",
    preset: "assistant_rag",
    name: "Assistant with documents",
    instructions: `You answer from documents. Search the collection ${starterCollection} with vector.search before you answer, again with other words when it brings nothing. Say only what the pieces that you found say, and put the number of each piece that a sentence rests on in brackets behind it, such as [1]. Say so when the documents do not answer the question.`,
    tools: ["vector.search"],
  },
  assistant_multiagent: {
    ...common,
    requestId: "preset/assistant_multiagent/1",
    preset: "assistant_multiagent",
    name: "Planner",
    instructions:
      "You plan and let others work. Split the task, give each part to the agent that fits best, several at once when the parts do not depend on each other, and put their answers together into one. Name who said what, and say so when somebody failed.",
    tools: ["delegate:assistant_basic", "delegate:assistant_tools", "delegate:assistant_rag"],
  },
} as const satisfies Record<string, PresetRequest>;

/** The name of a preset. */
export type PresetName = keyof typeof presets;
