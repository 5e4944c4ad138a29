import { expect, test } from "vitest";
import { z } from "zod";
import { jsonValue } from "../../src/client/client.ts";
import { createWorker, defineHandler } from "../../src/engine/worker.ts";
import { until } from "../support/until.ts";
import { fakeEngine, refusal } from "./fake-engine.ts";
import { outcomeOf, startWorker } from "./running.ts";

const greet = defineHandler(
  {
    input: z.object({ name: z.string().min(1), times: z.int().default(1) }),
    output: z.object({ greeting: z.string() }),
    agent: { name: "Greeter", instructions: "Greet people.", tools: ["time"] },
  },
  (_ctx, { name, times }) => ({ greeting: `Hello, ${name}!`.repeat(times) }),
);

test("a handler gets what the schema makes of the input, and the run what it makes of the output", async () => {
  const input = jsonValue({ name: "Ada" });
  expect(await outcomeOf(fakeEngine(), greet, { input })).toMatchObject({ output: { greeting: "Hello, Ada!" } });
});

test("an input that the schema does not take fails the run for good, with every problem", async () => {
  const { error, run } = await outcomeOf(fakeEngine(), greet, { input: jsonValue({ name: "", times: [1] }) });
  expect(error).toMatchObject({
    code: "INVALID_INPUT",
    message:
      "input.name: Too small: expected string to have >=1 characters; input.times: Invalid input: expected number, received array",
    retryable: false,
  });
  expect(run.run.attempt).toBe(1);
});

test("an output that the schema does not take fails the run for good", async () => {
  const bad = defineHandler({ output: z.array(z.object({ n: z.number() })) }, () => [{ n: "1" }] as never);
  const { error } = await outcomeOf(fakeEngine(), bad);
  expect(error).toMatchObject({
    code: "INVALID_OUTPUT",
    message: 'output["0"].n: Invalid input: expected number, received string',
    retryable: false,
  });
});

test("a schema that JSON Schema has no words for is refused at once", () => {
  expect(() => defineHandler({ input: z.object({ at: z.date() }) }, () => 1)).toThrow("Date cannot be represented");
});

test("a handler with an agent is published when the worker starts", async () => {
  const engine = fakeEngine();
  startWorker(engine, { handlers: { greet, plain: () => 1 } });
  const update = await until(() => engine.callsOf("updateAgent")[0], { what: "an update" });
  expect(engine.callsOf("createAgent").map(({ request }) => request)).toMatchObject([
    { requestId: "handler/greet", name: "greet", handler: "greet" },
  ]);
  expect(update.request).toMatchObject({
    agent: {
      agentId: "agt_handler/greet",
      name: "Greeter",
      instructions: "Greet people.",
      tools: ["time"],
      inputSchema: { type: "object", properties: { name: { type: "string", minLength: 1 } }, required: ["name"] },
      outputSchema: { type: "object", properties: { greeting: { type: "string" } }, required: ["greeting"] },
    },
    updateMask: { paths: ["name", "instructions", "tools", "input_schema", "output_schema"] },
  });
});

test("later workers leave alone what people may have changed since, and update schemas that differ", async () => {
  const engine = fakeEngine();
  const publish = async (handler: typeof greet, calls: number) => {
    const { worker } = startWorker(engine, { handlers: { greet: handler } });
    await until(() => engine.callsOf("createAgent").length === calls, { what: "the worker to ask" });
    await engine.ended(engine.submit({ handler: "greet", input: jsonValue({ name: "Ada" }) }));
    await worker[Symbol.asyncDispose]();
  };
  await publish(greet, 1);
  await until(() => engine.callsOf("updateAgent").length === 1, { what: "an update" });
  await publish(greet, 2);
  const other = defineHandler(
    { input: z.object({ name: z.string() }), agent: { instructions: "Be rude." } },
    () => "Hi",
  );
  startWorker(engine, { handlers: { greet: other } });
  await until(() => engine.callsOf("updateAgent").length === 2, { what: "another update" });
  expect(engine.callsOf("updateAgent")[1]?.request).toMatchObject({
    updateMask: { paths: ["input_schema", "output_schema"] },
  });
});

test("a worker whose agents can not be published works all the same, and says so", async () => {
  const engine = fakeEngine();
  engine.fault = ({ method }) => {
    if (method === "createAgent") throw refusal("PERMISSION_DENIED", "this key may not create agents");
  };
  const told: unknown[] = [];
  const input = jsonValue({ name: "Ada" });
  const { status } = await outcomeOf(engine, greet, { input }, { onError: (error) => told.push(error) });
  expect(status).toBe("SUCCEEDED");
  await until(() => told.length > 0, { what: "the error" });
  expect(told).toMatchObject([{ rawMessage: "this key may not create agents" }]);
});

test("handlers can be added before the worker runs, not after", async () => {
  const engine = fakeEngine();
  await using worker = createWorker({ client: engine.client });
  expect(() => worker.run()).toThrow("a worker has 1 to 100 handlers; got 0");
  worker.handle("greet", greet);
  worker.handle("plain", () => "plain");
  expect(() => worker.handle("plain", () => 1)).toThrow("there are two handlers named plain");
  expect(() => worker.handle("a b", () => 1)).toThrow('"a b" in handlers does not match');
  void worker.run();
  expect(() => worker.handle("late", () => 1)).toThrow("add them before run()");
  expect(await engine.ended(engine.submit({ handler: "plain" }))).toMatchObject({ output: "plain" });
});
