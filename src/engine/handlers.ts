import { setTimeout as pause } from "node:timers/promises";
import type { JsonValue } from "../client/json.ts";
import type { Handler } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";

/**
 * The handlers that come with Signalbox, to try it with: `echo`, `sleep`, `work`, `flaky`, `steps`, `children`, `wait`,
 * `approve`, `file`.
 */
export const builtInHandlers = {
  /** Returns its input. */
  echo: (_ctx, input) => input,

  /** Takes {"ms": 0 to 86,400,000}, waits that long, without a worker when it is more than a second, then returns its input. */
  sleep: async (ctx, input) => {
    await ctx.sleep(wholeNumber(input, "ms", 86_400_000));
    return input;
  },

  /** Takes {"ms": 0 to 86,400,000}, keeps a worker busy that long in one step, then returns its input. */
  work: async (ctx, input) => {
    const ms = wholeNumber(input, "ms", 86_400_000);
    await ctx.step("work", ({ signal }) => pause(ms, undefined, { signal }));
    return input;
  },

  /** Takes {"failures": 0 to 100}, fails that many attempts, then returns {"attempts": how many it took}. */
  flaky: ({ currentRun: run, attempt }, input) => {
    const failures = wholeNumber(input, "failures", 100);
    if (run.failedAttempts < failures) {
      throw new HandlerError("FLAKY", `failure ${run.failedAttempts + 1} of ${failures}, as asked`);
    }
    return { attempts: attempt };
  },

  /** Takes {"count": 0 to 1,000}, records that many steps, and returns {"count": …, "steps": [1, 2, …]}. */
  steps: async (ctx, input) => {
    const count = wholeNumber(input, "count", 1_000);
    const steps: number[] = [];
    for (let number = 1; number <= count; number++) {
      steps.push(await ctx.step(`step-${number}`, () => number));
    }
    return { count, steps };
  },

  /**
   * Takes {"count": 0 to 1,000, "handler": a handler, default `echo`, "input": what each child gets}, runs that many
   * children, and returns {"outputs": what they returned}.
   */
  children: async (ctx, input) => {
    const count = wholeNumber(input, "count", 1_000);
    const { handler, input: given } = isObject(input) ? input : {};
    const child = { handler: typeof handler === "string" ? handler : "echo", input: given };
    const outputs = await ctx.runAll(Array.from({ length: count }, () => child));
    return { outputs: outputs.map((output) => output ?? null) };
  },

  /** Waits for a message, from the thread that {"thread": …} names or from none, and returns {"message": its content}. */
  wait: async (ctx, input) => {
    const thread = isObject(input) ? input["thread"] : undefined;
    return { message: await ctx.waitForMessage(typeof thread === "string" ? thread : undefined) };
  },

  /** Asks people whether its input may be sent, as an external write, and returns {"sent": what they have approved}. Sends nothing. */
  approve: async (ctx, input) => {
    const sent = await ctx.approve({ action: "example.send", payload: input ?? null });
    return { sent: sent ?? null };
  },

  /**
   * Takes {"name": of a file, default `hello.txt`, "text": what is in it}, stores that as an artifact of the run, and returns
   * {"artifact_id": …, "sha256": …}.
   */
  file: async (ctx, input) => {
    const { name, text } = isObject(input) ? input : {};
    const content = typeof text === "string" ? text : "Hello from Signalbox.\n";
    const { artifactId, sha256 } = await ctx.artifact(typeof name === "string" ? name : "hello.txt", content);
    return { artifact_id: artifactId, sha256 };
  },
} as const satisfies Record<string, Handler>;

/** A field of the input. Throws INVALID_INPUT, not retryable, unless it is a whole number from 0 to `most`. */
function wholeNumber(input: JsonValue | undefined, field: string, most: number): number {
  const value = isObject(input) ? input[field] : undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most) return value;
  const got = isObject(input)
    ? (JSON.stringify(value) ?? "nothing")
    : `the input ${JSON.stringify(input) ?? "nothing"}`;
  const shown = got.length <= 100 ? got : `${got.length} characters of JSON`;
  const message = `input.${field} must be a whole number from 0 to ${most}; got ${shown}`;
  throw new HandlerError("INVALID_INPUT", message, { retryable: false });
}

function isObject(input: JsonValue | undefined): input is { [key: string]: JsonValue } {
  return typeof input === "object" && input !== null && !Array.isArray(input);
}
