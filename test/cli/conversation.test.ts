import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { StepKind } from "../../gen/signalbox/v1/run_pb.ts";
import { createConversation } from "../../src/cli/views/conversation.ts";
import { type JsonValue, jsonValue } from "../../src/client/json.ts";
import { createTestOutput } from "./sink.ts";

type Payload = NonNullable<MessageInitShape<typeof EventSchema>["payload"]>;

function telling() {
  const { output: shown, stdout } = createTestOutput();
  const conversation = createConversation({ write: shown.write, line: shown.say });
  const event = (payload: Payload) => conversation.event(create(EventSchema, { type: "test", payload }));
  return {
    event,
    text: stdout.text,
    model: conversation.model,
    claim: (attempt: number) => event({ case: "runClaimed", value: { attempt } }),
    delta: (stepKey: string, text: string, attempt = 1) =>
      conversation.delta(create(RunDeltaSchema, { attempt, delta: { stepKey, text } })),
    start: (key: string, kind: StepKind) => event({ case: "stepStarted", value: { stepId: `id_${key}`, key, kind } }),
    complete: (key: string, output: JsonValue) =>
      event({ case: "stepCompleted", value: { stepId: `id_${key}`, output: jsonValue(output) } }),
  };
}

test("tells an answer as it comes, and only once", () => {
  const { claim, start, delta, complete, text, model } = telling();
  claim(1);
  start("model", StepKind.MODEL);
  delta("model", "A run ");
  delta("model", "is one");
  expect(text()).toBe("A run is one");
  complete("model", { text: "A run is one piece.", model: "mock/assistant" });
  delta("model", " piece.");
  expect(text()).toBe("A run is one piece.");
  expect(model()).toBe("mock/assistant");
});

test("tells an answer whole when its making did not come through, or said something else", () => {
  const { claim, start, delta, complete, text } = telling();
  claim(1);
  start("model", StepKind.MODEL);
  complete("model", { text: "Silent." });
  start("model#2", StepKind.MODEL);
  delta("model#2", "\nHal");
  complete("model#2", { text: "Whole." });
  expect(text()).toBe("Silent.\nHal\nWhole.\n");
});

test("tells what was said again in a later attempt", () => {
  const { claim, start, delta, complete, text } = telling();
  claim(1);
  start("model", StepKind.MODEL);
  delta("model", "Lost");
  claim(2);
  delta("model", "Kept.", 2);
  complete("model", { text: "Kept." });
  expect(text()).toBe("LostKept.");
});

test("tells of tools and child runs, and nothing of steps that only keep house", () => {
  const { event, start, complete, text } = telling();
  start("agent", StepKind.FUNCTION);
  complete("agent", { name: "Tester" });
  event({
    case: "toolCallStarted",
    value: { toolCallId: "t1", key: "add", tool: "add", arguments: jsonValue({ a: 1 }) },
  });
  event({ case: "toolCallSucceeded", value: { toolCallId: "t1", result: jsonValue({ sum: 1 }) } });
  event({ case: "toolCallStarted", value: { toolCallId: "t2", key: "add#2", tool: "add" } });
  event({ case: "toolCallFailed", value: { toolCallId: "t2", error: { code: "NO", message: "not today" } } });
  event({
    case: "stepStarted",
    value: { stepId: "s1", key: "delegate helper", kind: StepKind.RUN, childRunId: "run_2" },
  });
  complete("x", "unknown");
  event({ case: "stepCompleted", value: { stepId: "s1", output: jsonValue({ text: "Done.\nReally." }) } });
  expect(text().split("\n")).toEqual([
    `  → add  {"a":1}`,
    `  ← add  {"sum":1}`,
    "  → add",
    "  ✗ add  NO: not today",
    "  → delegate helper  run_2",
    "  ← delegate helper  Done. Really.",
    "",
  ]);
});

test("lists what an answer cites, and tells what goes wrong", () => {
  const { event, text } = telling();
  event({ case: "runPaused", value: { note: "the budget is used up" } });
  const citation = { number: 2, title: "Runs", documentId: "doc_1", start: 3, end: 9, score: 0.756 };
  event({ case: "runSucceeded", value: { output: jsonValue({ text: "So [2].", citations: [citation] }) } });
  event({ case: "runSucceeded", value: { output: jsonValue("plain") } });
  expect(text()).toMatch(/test .*the budget is used up\n\[2\] Runs {2}doc_1 3–9 {2}score 0.76\n$/);
});
