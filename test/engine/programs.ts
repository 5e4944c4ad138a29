import * as fc from "fast-check";
import {
  type HandlerContext,
  HandlerError,
  defineTool,
  type JsonValue,
  type Tool,
  ToolEffect,
} from "../../src/engine/worker.ts";

/** A handler as data: what it asks for, one after the other or side by side. */
export type Program =
  | { readonly kind: "step"; readonly value: number; readonly ms: number }
  /** Fails as often before it succeeds, tried again in place. */
  | { readonly kind: "retried"; readonly failures: number }
  /** Fails the whole attempt as often before it succeeds. */
  | { readonly kind: "flaky"; readonly failures: number }
  /** Always fails; the handler goes on. */
  | { readonly kind: "caught"; readonly retryable: boolean }
  | { readonly kind: "sleep"; readonly ms: number }
  | { readonly kind: "read"; readonly value: number }
  /** People decide on it by the amount. */
  | { readonly kind: "pay"; readonly cents: number }
  | { readonly kind: "approve"; readonly value: number }
  | { readonly kind: "chance" }
  /** Its content is another one in each attempt. */
  | { readonly kind: "artifact" }
  /** An output that the log has no room for. */
  | { readonly kind: "large"; readonly value: number }
  | { readonly kind: "child"; readonly value: number }
  | { readonly kind: "children"; readonly count: number }
  | { readonly kind: "message" }
  | { readonly kind: "sequence"; readonly parts: readonly Program[] }
  | { readonly kind: "parallel"; readonly parts: readonly Program[] };

/** Programs of every kind, nested a few deep. */
export const anyProgram: fc.Arbitrary<Program> = fc.letrec<{ program: Program; leaf: Program }>((tie) => ({
  leaf: fc.oneof<fc.Arbitrary<Program>[]>(
    fc.record({ kind: fc.constant("step" as const), value: fc.nat(9), ms: fc.constantFrom(0, 0, 5, 40) }),
    fc.record({ kind: fc.constant("retried" as const), failures: fc.integer({ min: 1, max: 2 }) }),
    fc.record({ kind: fc.constant("flaky" as const), failures: fc.integer({ min: 1, max: 2 }) }),
    fc.record({ kind: fc.constant("caught" as const), retryable: fc.boolean() }),
    fc.record({ kind: fc.constant("sleep" as const), ms: fc.constantFrom(0, 10, 900, 60_000, 600_000) }),
    fc.record({ kind: fc.constant("read" as const), value: fc.nat(9) }),
    fc.record({ kind: fc.constant("pay" as const), cents: fc.nat(9) }),
    fc.record({ kind: fc.constant("approve" as const), value: fc.nat(9) }),
    fc.constant({ kind: "chance" as const }),
    fc.constant({ kind: "artifact" as const }),
    fc.record({ kind: fc.constant("large" as const), value: fc.nat(9) }),
    fc.record({ kind: fc.constant("child" as const), value: fc.nat(9) }),
    fc.record({ kind: fc.constant("children" as const), count: fc.integer({ min: 1, max: 3 }) }),
    fc.constant({ kind: "message" as const }),
  ),
  program: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("leaf"),
    fc.record({
      kind: fc.constant("sequence" as const),
      parts: fc.array(tie("program"), { minLength: 1, maxLength: 4 }),
    }),
    fc.record({
      kind: fc.constant("parallel" as const),
      parts: fc.array(tie("program"), { minLength: 2, maxLength: 4 }),
    }),
  ),
})).program;

/** Where a program leaves its traces: outside the run, so a crash does not undo them. */
export interface World {
  /** Called each time that the code of a step runs; returns how often it has. Throws in a worker that is dead by now. */
  ran(key: string, attempt: number): number;
  /** The bank: amounts by the id of the tool call. */
  readonly payments: Map<string, number>;
  /** Rejects when the worker dies meanwhile: its code does not go on. */
  pause(ms: number): Promise<void>;
}

/** Pays once per call; whether it has can be looked up. */
export function payTool(world: World): Tool {
  return defineTool({
    name: "pay",
    description: "Pays.",
    effect: ToolEffect.EXTERNAL_WRITE,
    input: { type: "object" },
    async run(args, { toolCallId }) {
      if (world.payments.has(toolCallId)) throw new Error(`paid twice: ${toolCallId}`);
      await world.pause(3);
      world.payments.set(toolCallId, (args as { cents: number }).cents);
      await world.pause(3);
      return { receipt: toolCallId };
    },
    async reconcile(_args, { toolCallId }) {
      const paid = world.payments.has(toolCallId);
      return paid
        ? { tookEffect: true, result: { receipt: toolCallId }, note: "paid" }
        : { tookEffect: false, note: "not paid" };
    },
  });
}

/**
 * Runs a program. What it asks for is named after everything that it was told before, in the order in which it was told: a
 * replay that tells anything in another order asks for something else.
 */
export async function runProgram(ctx: HandlerContext, world: World, program: Program): Promise<JsonValue> {
  let told = 0;
  const hear = (what: JsonValue): JsonValue => {
    told = (told * 31 + JSON.stringify(what).length * 7 + digest(JSON.stringify(what))) % 1_000_003;
    return what;
  };
  const run = async (part: Program, path: string): Promise<JsonValue> => {
    const name = `${path} after ${told}`;
    switch (part.kind) {
      case "step":
        return hear(
          await ctx.step(name, async ({ key }) => {
            world.ran(key, ctx.attempt);
            await world.pause(part.ms);
            return part.value;
          }),
        );
      case "retried":
      case "flaky": {
        const retry = part.kind === "retried" ? { maxAttempts: part.failures + 1 } : undefined;
        const work = ({ key }: { key: string }) => {
          const times = world.ran(key, ctx.attempt);
          if (times <= part.failures) throw new HandlerError("NOT_YET", "not yet");
          return "at last";
        };
        return hear(await ctx.step(name, work, { retry }));
      }
      case "caught": {
        const fail = ({ key }: { key: string }) => {
          world.ran(key, ctx.attempt);
          throw new HandlerError("NEVER", "never", { retryable: part.retryable });
        };
        return hear(await ctx.step(name, fail).catch((error: unknown) => (error as HandlerError).code));
      }
      case "sleep":
        await ctx.sleep(part.ms, { name });
        return hear("slept");
      case "read":
        return hear((await ctx.tool("read", { value: part.value }, { name })) ?? null);
      case "pay":
        return hear(await ctx.tool("pay", { cents: part.cents }, { name }).then(() => "paid", codeOf));
      case "approve":
        return hear((await ctx.approve({ action: "go", payload: part.value, name }).catch(codeOf)) ?? null);
      case "chance":
        hear(ctx.random());
        // Which of those side by side gets which number is a matter of time, too.
        return "a number";
      case "artifact":
        hear((await ctx.artifact(name, `attempt ${ctx.attempt}`)).sha256);
        // Its bytes are those of the attempt that stored it.
        return "a file";
      case "large": {
        const text = await ctx.step(name, ({ key }) => {
          world.ran(key, ctx.attempt);
          return String(part.value).repeat(270_000);
        });
        return hear(text.length === 270_000 ? text.slice(0, 3) : "another text");
      }
      case "child":
        return hear((await ctx.run({ name, handler: "child", input: part.value })) ?? null);
      case "children": {
        const children = Array.from({ length: part.count }, (_, index) => ({ name, handler: "child", input: index }));
        return hear((await ctx.runAll(children)) as JsonValue);
      }
      case "message":
        hear(await ctx.waitForMessage("", { name }));
        // Which of those who wait at the same time gets it is a matter of time.
        return "a message";
      case "sequence": {
        const results: JsonValue[] = [];
        for (const [index, each] of part.parts.entries()) results.push(await run(each, `${path}.${index}`));
        return results;
      }
      case "parallel":
        return Promise.all(part.parts.map((each, index) => run(each, `${path}.${index}`)));
    }
  };
  return run(program, "p");
}

function codeOf(error: unknown): string {
  if (error instanceof HandlerError && error.code.startsWith("APPROVAL_")) return error.code;
  throw error;
}

/** How many messages the program waits for. */
export function countMessages(program: Program): number {
  if (program.kind === "message") return 1;
  if (program.kind !== "sequence" && program.kind !== "parallel") return 0;
  return program.parts.reduce((sum, part) => sum + countMessages(part), 0);
}

function digest(text: string): number {
  let sum = 0;
  for (const char of text) sum = (sum * 33 + (char.codePointAt(0) ?? 0)) % 65_521;
  return sum;
}
