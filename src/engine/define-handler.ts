import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { z } from "zod";
import type { AgentLimitsSchema, MemoryPolicySchema } from "../../gen/signalbox/v1/agent_pb.ts";
import type { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Handler, HandlerContext } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";

/** The agent that a handler is published as, when a worker with it starts. */
export interface HandlerAgent {
  /** What people call it, default the handler's name. */
  readonly name?: string | undefined;
  readonly model?: string | undefined;
  readonly instructions?: string | undefined;
  readonly tools?: readonly string[] | undefined;
  readonly zone?: Zone | undefined;
  readonly limits?: MessageInitShape<typeof AgentLimitsSchema> | undefined;
  readonly memory?: MessageInitShape<typeof MemoryPolicySchema> | undefined;
}

/** What a handler takes and gives. */
export interface HandlerDefinition<Input extends z.ZodType, Output extends z.ZodType> {
  /** What the input must be, default anything. The handler gets what the schema makes of it. */
  readonly input?: Input | undefined;
  /** What the output must be, default anything. The run's output is what the schema makes of it. */
  readonly output?: Output | undefined;
  /** Publishes the handler as an agent, with the JSON Schemas of input and output. */
  readonly agent?: HandlerAgent | undefined;
}

/** A handler that knows what it takes and gives. */
export interface DefinedHandler {
  readonly handle: Handler;
  /** The JSON Schema of the input; undefined for anything. */
  readonly inputSchema: JsonObject | undefined;
  /** The JSON Schema of the output; undefined for anything. */
  readonly outputSchema: JsonObject | undefined;
  readonly agent: HandlerAgent | undefined;
}

/**
 * A handler with types: a run whose input the schema does not take fails for good with INVALID_INPUT before the handler
 * starts, one whose output it does not take with INVALID_OUTPUT; the message lists every problem with its path. Throws an
 * error for a schema that JSON Schema has no words for, as `z.date()`.
 */
export function defineHandler<Input extends z.ZodType = z.ZodUnknown, Output extends z.ZodType = z.ZodUnknown>(
  { input, output, agent }: HandlerDefinition<Input, Output>,
  fn: (ctx: HandlerContext, input: z.output<Input>) => z.input<Output> | Promise<z.input<Output>>,
): DefinedHandler {
  return {
    inputSchema: input && jsonSchemaOf(input, "input"),
    outputSchema: output && jsonSchemaOf(output, "output"),
    agent,
    async handle(ctx, given) {
      const taken = input === undefined ? given : await checked(input, given, "input", "INVALID_INPUT");
      const result = await fn(ctx, taken as z.output<Input>);
      return output === undefined ? result : checked(output, result, "output", "INVALID_OUTPUT");
    },
  };
}

async function checked(schema: z.ZodType, value: unknown, what: string, code: string): Promise<unknown> {
  const result = await schema.safeParseAsync(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${what}${path.map(accessor).join("")}: ${message}`);
  throw new HandlerError(code, problems.join("; "), { retryable: false, cause: result.error });
}

function accessor(key: PropertyKey): string {
  return typeof key === "string" && /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(String(key))}]`;
}

function jsonSchemaOf(schema: z.ZodType, io: "input" | "output"): JsonObject {
  return JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io }))) as JsonObject;
}
