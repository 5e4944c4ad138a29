import { create } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EvaluationSchema, GateVerdict } from "../../gen/signalbox/v1/eval_pb.ts";
import { junitReport } from "../../src/cli/views/junit.ts";

const spec = { suiteName: 'a "suite" of <aspects> & more', thresholds: { minPassRate: 0.8 } };
const flaw = (message: string) => ({ runId: "run_1", repeat: 2, error: false, check: "exact", message });
const scored = (verdict: GateVerdict, message = "why") =>
  create(EvaluationSchema, {
    evaluationId: "run_1",
    spec,
    createTime: { seconds: 10n },
    endTime: { seconds: 12n, nanos: 500_000_000 },
    scorecard: {
      gate: { verdict, reasons: [{ code: "PASS_RATE", verdict, message }] },
      cases: [
        {
          key: "good",
          counts: { passed: 9, failed: 1 },
          passRate: { value: 0.9, lower: 0.6, upper: 0.98 },
          flaws: [flaw("late")],
        },
        { key: "bad", counts: { failed: 10 }, passRate: { value: 0, lower: 0, upper: 0.3 }, flaws: [flaw(message)] },
        { key: "lost", counts: { errors: 10 }, latency: { count: 10, medianMs: 1_500 } },
      ],
    },
  });

test("a report has a test for each case and one for the gate", () => {
  expect(junitReport(scored(GateVerdict.FAIL))).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="signalbox" tests="4" failures="2" errors="1" skipped="0" time="2.5">
  <testsuite name="a &quot;suite&quot; of &lt;aspects&gt; &amp; more" id="run_1" tests="4" failures="2" errors="1" skipped="0" time="2.5">
    <testcase classname="a &quot;suite&quot; of &lt;aspects&gt; &amp; more" name="good" time="0"><system-out>trial 2 failed: run_1: exact: late</system-out></testcase>
    <testcase classname="a &quot;suite&quot; of &lt;aspects&gt; &amp; more" name="bad" time="0"><failure message="0 passed, 10 failed, 0 errors">trial 2 failed: run_1: exact: why</failure></testcase>
    <testcase classname="a &quot;suite&quot; of &lt;aspects&gt; &amp; more" name="lost" time="1.5"><error message="0 passed, 0 failed, 10 errors"></error></testcase>
    <testcase classname="a &quot;suite&quot; of &lt;aspects&gt; &amp; more" name="gate" time="0"><failure message="FAIL">why</failure></testcase>
  </testsuite>
</testsuites>
`);
});

test("the gate passes, is skipped when it can not tell, and an evaluation without a scorecard is an error", () => {
  expect(junitReport(scored(GateVerdict.PASS))).toContain('name="gate" time="0"><system-out>why</system-out>');
  expect(junitReport(scored(GateVerdict.INCONCLUSIVE))).toContain('<skipped message="INCONCLUSIVE: why"></skipped>');
  const failed = create(EvaluationSchema, { spec, error: { code: "BROKEN", message: "no" } });
  expect(junitReport(failed)).toContain('tests="1" failures="0" errors="1"');
  expect(junitReport(failed)).toContain('<error message="BROKEN: no">');
});

const elements = (report: string) => report.match(/<\/?[a-z-]+/g);

test("whatever a program has answered, the report is XML 1.0 and the words stay within their element", () => {
  const awkward = fc.string({ unit: "binary", maxLength: 60 });
  const hostile = fc.constantFrom(
    "]]>",
    "</failure>",
    "<!--",
    "&amp;",
    "\u0000\u0008\u000b\u001b",
    "\uffff",
    "\ud800",
    "\r\n\t",
    "\"'",
  );
  const plain = elements(junitReport(scored(GateVerdict.FAIL)));
  fc.assert(
    fc.property(fc.array(fc.oneof(awkward, hostile), { maxLength: 6 }), (parts) => {
      const report = junitReport(scored(GateVerdict.FAIL, parts.join("")));
      expect(report.isWellFormed()).toBe(true);
      expect(report).toMatch(/^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u);
      expect(elements(report)).toEqual(plain);
      expect(report.replace(/&(amp|lt|gt|quot|apos|#13|#10|#9);/g, "")).not.toContain("&");
    }),
    { numRuns: 50 },
  );
});
