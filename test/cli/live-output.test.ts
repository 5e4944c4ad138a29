import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import { createLiveOutput } from "../../src/cli/views/live-output.ts";
import { jsonValue } from "../../src/client/json.ts";
import { createTestOutput } from "./sink.ts";

function telling() {
  const { output, stdout } = createTestOutput();
  const live = createLiveOutput({ write: output.write, line: output.say });
  const delta = (runId: string, own: MessageInitShape<typeof RunDeltaSchema>["delta"], attempt = 1) =>
    live.delta(create(RunDeltaSchema, { runId, attempt, ...(own === undefined ? {} : { delta: own }) }));
  return { delta, live, output, text: stdout.text };
}

test("goes on with the text of a step, and says whose it is when it changes", () => {
  const { delta, text } = telling();
  delta("run_1", { stepKey: "model", text: "Once " });
  delta("run_1", { stepKey: "model", text: "more." });
  delta("run_2", { stepKey: "model", text: "Hello\n" });
  delta("run_1", { stepKey: "model", text: "Again." }, 2);
  expect(text()).toBe("  run_1  model  Once more.\n  run_2  model  Hello\n  run_1  model (attempt 2)  Again.");
});

test("says whose text it is after an event, which stands on a line of its own", () => {
  const { delta, live, output, text } = telling();
  delta("run_1", { stepKey: "model", text: "Once" });
  live.interrupted();
  output.show({}, "run.claimed");
  delta("run_1", { stepKey: "model", text: " more" });
  expect(text()).toBe("  run_1  model  Once\nrun.claimed\n  run_1  model   more");
});

test("tells data on a line of its own", () => {
  const { delta, text } = telling();
  delta("run_1", { stepKey: "load", text: "Loading" });
  delta("run_1", { stepKey: "load", data: jsonValue({ done: 1 }) });
  delta("run_1", { stepKey: "load", text: "Done" });
  delta("run_1", undefined);
  expect(text()).toBe('  run_1  load  Loading\n  run_1  load  {"done":1}\n  run_1  load  Done');
});
