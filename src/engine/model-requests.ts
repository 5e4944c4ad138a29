import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { JsonValue } from "../client/json.ts";
import { type ModelAnswer, type ModelClient, ModelError, type ModelRequest } from "../models/model.ts";
import type { Commands } from "./commands.ts";
import type { HandlerContext, StepScope } from "./handler.ts";
import { HandlerError, tame } from "./handler-error.ts";
import { resultOf, type Steps } from "./steps.ts";
import type { Telemetry } from "./telemetry.ts";
import { optionalValue } from "./values.ts";

/** What questions to models need. */
export interface ModelRequestsOptions {
  readonly run: Run;
  /** Undefined when the worker has no models. */
  readonly client: ModelClient | undefined;
  readonly commands: Commands;
  readonly steps: Steps;
  readonly telemetry: Telemetry;
}

/** Characters of JSON of the newest message that are recorded with the question. */
const maxShownLength = 16_384;

/** Questions to models, each answered once per run. */
export function createModelRequests(options: ModelRequestsOptions): HandlerContext["model"] {
  const { run, client, commands, steps, telemetry } = options;

  async function ask(request: ModelRequest, stream: boolean, scope: StepScope): Promise<ModelAnswer> {
    if (client === undefined) {
      const message = "this worker has no models; give createWorker the option `models`";
      throw new HandlerError("MODELS_UNAVAILABLE", message, { retryable: false });
    }
    const { signal, addUsage, emit } = scope;
    const onText = stream ? (text: string) => emit(text) : undefined;
    try {
      const generate = async () => plain(await client.generate(request, { signal, onText }));
      const answer = await telemetry.chat(run, request, generate);
      addUsage(answer.usage);
      return answer;
    } catch (thrown) {
      const error = tame(thrown);
      if (error instanceof ModelError) addUsage(error.usage);
      throw error;
    }
  }

  return (request, { name = "model", retry, stream = true } = {}) =>
    commands.perform<ModelAnswer>({
      kind: "model",
      name,
      live: async (command) => {
        const input = optionalValue(shown(request), `the input of ${command.key}`, "INPUT_NOT_SERIALIZABLE");
        return steps.perform(command, { init: { input }, retry, fn: (scope) => ask(request, stream, scope) });
      },
      replayed: resultOf,
    });
}

/**
 * What is recorded of a question: a conversation is on record already, turn by turn, and would grow the log by all that was
 * said with every turn.
 */
function shown({ model, messages, tools, temperature, maxOutputTokens }: ModelRequest): JsonValue {
  const last = JSON.stringify(messages.at(-1) ?? null);
  return {
    model,
    message_count: messages.length,
    ...(last.length <= maxShownLength ? { last_message: JSON.parse(last) as JsonValue } : {}),
    ...(tools === undefined ? {} : { tools: tools.map((tool) => tool.name) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxOutputTokens === undefined ? {} : { max_output_tokens: maxOutputTokens }),
  };
}

/** The answer as it will be on record; a client of somebody's own may have answered anything. */
function plain(answer: ModelAnswer): ModelAnswer {
  const { text, toolCalls, usage } = answer ?? {};
  if (typeof text !== "string" || !Array.isArray(toolCalls) || typeof usage !== "object") {
    throw new ModelError("MODEL_BAD_ANSWER", "the model client answered without text, toolCalls or usage", {
      retryable: true,
    });
  }
  return JSON.parse(JSON.stringify(answer)) as ModelAnswer;
}
