import { Code, ConnectError } from "@connectrpc/connect";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ArtifactPurpose, ArtifactVisibility, jsonValue } from "../../src/client/client.ts";
import { createStepOutputs } from "../../src/engine/step-outputs.ts";
import { createMockModel, type Handler } from "../../src/engine/worker.ts";
import { type FakeEngine, fakeEngine } from "./fake-engine.ts";
import { changing, outcomeOf } from "./running.ts";

const large = { text: "ä".repeat(200_000), numbers: [-0, 0.1, 1e300] };

/** A handler that does the same twice and compares what it gets. */
function twice(does: Handler): Handler {
  const seen: unknown[] = [];
  const look: Handler = async (ctx, input) => {
    seen.push(await does(ctx, input));
    expect(seen.at(-1)).toEqual(seen[0]);
  };
  return changing(look, look);
}

const recorded = ({ callsOf }: FakeEngine) => callsOf("completeStep").map(({ request }) => request);

test("a large output of a step is in an artifact, and comes back in a replay as it was", async () => {
  const engine = fakeEngine();
  let runs = 0;
  const { run, error } = await outcomeOf(
    engine,
    twice((ctx) =>
      ctx.step("load", () => {
        runs++;
        return large;
      }),
    ),
  );
  expect(error).toBeUndefined();
  expect(runs).toBe(1);
  expect(recorded(engine)).toMatchObject([{ outputArtifactId: "art_1" }]);
  expect(run.steps.get("load")?.output).toBeUndefined();
  expect(engine.artifacts.all.map(({ artifact }) => artifact)).toMatchObject([
    {
      name: "load.json",
      contentType: "application/json",
      stepId: "step_load",
      purpose: ArtifactPurpose.STEP_OUTPUT,
      visibility: ArtifactVisibility.WORKSPACE,
    },
  ]);
  expect(engine.callsOf("downloadArtifact")).toMatchObject([{ onBehalfOf: `service:handler:${run.run.handler}` }]);
});

test("an output of 256 KiB is in the log, one byte more in an artifact", async () => {
  const engine = fakeEngine();
  // The record has 4 bytes around a text of this length.
  const text = "a".repeat(256 * 1024 - 4);
  await outcomeOf(engine, async (ctx) => {
    await ctx.step("fits", () => text);
    await ctx.step("does not", () => `${text}a`);
  });
  expect(recorded(engine)).toMatchObject([{ outputArtifactId: "" }, { outputArtifactId: "art_1" }]);
});

test("large answers of models, outputs of children, messages and approved payloads come back as well", async () => {
  const engine = fakeEngine();
  engine.gate.onAsk = (approval) => engine.gate.approve(approval);
  const text = "a".repeat(300_000);
  const models = createMockModel([{ text }]);
  const { run, error, status } = await outcomeOf(
    engine,
    twice(async (ctx) => {
      const { text: answer } = await ctx.model({ model: "mock", messages: [{ role: "user", text: "?" }] });
      const child = await ctx.run({ handler: "child" });
      if (ctx.attempt === 1) engine.say(run0(engine), text);
      const message = await ctx.waitForMessage();
      const payload = await ctx.approve({ action: "publish", payload: text });
      return { answer, child, message, payload };
    }),
    {},
    { models, handlers: { child: () => text } },
  );
  expect(error).toBeUndefined();
  expect(status).toBe("SUCCEEDED");
  expect([...run.steps.values()].map(({ outputArtifactId }) => outputArtifactId)).toEqual([
    "art_1",
    "art_2",
    "art_3",
    "art_4",
  ]);
});

test("the step runs again when its worker died before its end was on record, and may have another output", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }, when) => {
    const own = run0(engine);
    if (method !== "completeStep" || when !== "before" || own.run.attempt > 1) return;
    engine.expire(own);
    throw new ConnectError("the worker died", Code.Unavailable);
  };
  const { output, run } = await outcomeOf(engine, async (ctx) => {
    const text = await ctx.step("load", () => `${ctx.attempt}`.repeat(300_000));
    return text.slice(0, 3);
  });
  expect(output).toBe("222");
  expect(run.steps.get("load")?.outputArtifactId).toBe("art_2");
});

test("an output that the server has is fetched when the step is started again", async () => {
  const engine = fakeEngine();
  engine.omitsOutputs = true;
  const { error } = await outcomeOf(
    engine,
    twice(async (ctx) => [await ctx.step("small", () => "small"), await ctx.step("large", () => large)]),
  );
  expect(error).toBeUndefined();
});

test("an output beyond the limit for artifacts fails the step, and says so", async () => {
  const engine = fakeEngine();
  engine.artifacts.maxBytes = 300_000;
  const { error } = await outcomeOf(engine, (ctx) => ctx.step("load", () => large));
  expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE", retryable: false });
});

test("bytes that are not those on record are not taken for the output", async () => {
  const engine = fakeEngine();
  const errors: unknown[] = [];
  const load: Handler = async (ctx) => {
    await ctx.step("load", () => large);
    const [stored] = engine.artifacts.all;
    // One flipped bit on the way of the second attempt, and of no other.
    if (stored !== undefined && ctx.attempt === 1) stored.bytes = stored.bytes.with(9, stored.bytes[9]! ^ 1);
    return "done";
  };
  const options = { onError: (error: unknown) => void errors.push(error) };
  const { status } = await outcomeOf(engine, changing(load, load), { retryPolicy: { maxAttempts: 2 } }, options);
  expect(status).toBe("FAILED");
  expect(errors.at(-1)).toMatchObject({ code: "ARTIFACT_CORRUPT" });
});

test("any output comes back exactly", async () => {
  const stored = new Map<string, Uint8Array>();
  const outputs = createStepOutputs(
    {
      async put(requestId, _spec, { bytes }) {
        stored.set(requestId, bytes ?? new Uint8Array());
        return { artifactId: requestId } as never;
      },
      get: async (artifactId) => stored.get(artifactId) ?? new Uint8Array(),
    },
    { runId: "run" },
  );
  const filler = "a".repeat(256 * 1024);
  await fc.assert(
    fc.asyncProperty(fc.jsonValue({ maxDepth: 5 }), async (json) => {
      const output = jsonValue([filler, json]);
      const step = { id: "step", command: { key: "key" } } as never;
      const ending = await outputs.keep(step, { ok: true, output });
      const { outputArtifactId = "" } = ending.ok ? ending : {};
      expect(await outputs.load(outputArtifactId)).toEqual(output);
    }),
    { numRuns: 50, examples: [[JSON.parse('{"__proto__":{"a":-0.0},"10":1,"9":-1e-7}')]] },
  );
});

const run0 = (engine: FakeEngine) => {
  const [own] = engine.runs;
  if (own === undefined) throw new Error("there is no run yet");
  return own;
};
