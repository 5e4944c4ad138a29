import { create } from "@bufbuild/protobuf";
import { NullValue, ValueSchema } from "@bufbuild/protobuf/wkt";
import { SuiteArchivedSchema, SuitePutSchema } from "../../gen/signalbox/v1/eval_event_pb.ts";
import { text } from "./values.ts";

/** What agents are held against. */
export const evalPayloads = {
  suitePut: create(SuitePutSchema, {
    suite: {
      name: "signals",
      version: 2n,
      description: "What a signalman has to know.",
      cases: [
        {
          key: "distant/caution",
          input: text("double yellow"),
          expected: create(ValueSchema, { kind: { case: "nullValue", value: NullValue.NULL_VALUE } }),
          weight: 2.5,
          checks: [
            { name: "same", kind: { case: "exact", value: { value: text("yellow") } } },
            { pointer: "/text", kind: { case: "contains", value: { text: "yellow", ignoreCase: true } } },
            { kind: { case: "schema", value: { schema: { type: "object" } } } },
            { kind: { case: "pattern", value: { pattern: "^y", ignoreCase: true } } },
            { pointer: "/speed", kind: { case: "number", value: { value: 0, absolute: 0.5, relative: 0.01 } } },
            { kind: { case: "handler", value: { handler: "grade", queue: "graders" } } },
            { kind: { case: "judge", value: { rubric: "It says what to do.", model: "any" } } },
          ],
        },
      ],
      thresholds: { minPassRate: 0.9, confidence: 0, maxRegression: 0.05, minRepeats: 3 },
    },
  }),
  suiteArchived: create(SuiteArchivedSchema, {}),
};
