import { setTimeout as sleep } from "node:timers/promises";
import type { JsonValue } from "../client/json.ts";
import type { Handler } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";

/** The handlers that come with Signalbox, to try it with: `echo`, `sleep`, `flaky`, `steps`. */
export const builtInHandlers = {
  /** Returns its input. */
  echo: (_ctx, input) => input,

  /** Takes {"ms": 0 to 86,400,000}, waits that long, then returns its input. */
  sleep: async (ctx, input) => {
    await sleep(wholeNumber(input, "ms", 86_400_000), undefined, { signal: ctx.signal });
    return input;
  },

  /** Takes {"failures": 0 to 100}, fails that many attempts, then returns {"attempts": how many it took}. */
  flaky: ({ run, attempt }, input) => {
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
