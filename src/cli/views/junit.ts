import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type CaseScore, type Evaluation, GateVerdict, type TrialFlaw } from "../../../gen/signalbox/v1/eval_pb.ts";

/** What one test of a report says; nothing when it passed. */
interface Finding {
  readonly element: "failure" | "error" | "skipped";
  readonly message: string;
  readonly detail: string;
}

interface Test {
  readonly name: string;
  readonly seconds: number;
  readonly finding: Finding | undefined;
  /** What is worth knowing although it passed. */
  readonly note: string;
}

/**
 * An evaluation as JUnit XML: a test for each case, and one for the gate. A case fails when it is shown to pass less often than
 * min_pass_rate; the gate's test fails on FAIL and is skipped on INCONCLUSIVE. An evaluation without a scorecard is one error.
 */
export function junitReport(evaluation: Evaluation): string {
  const { spec, scorecard, evaluationId, createTime, endTime } = evaluation;
  const suite = spec?.suiteName ?? "";
  const cases = scorecard?.cases.map((score) => caseTest(score, spec?.thresholds?.minPassRate ?? 0)) ?? [];
  const tests = [...cases, gateTest(evaluation)];
  const count = (element: Finding["element"]) => tests.filter(({ finding }) => finding?.element === element).length;
  const seconds = createTime && endTime ? (timestampMs(endTime) - timestampMs(createTime)) / 1_000 : 0;
  const numbers = `tests="${tests.length}" failures="${count("failure")}" errors="${count("error")}" skipped="${count("skipped")}" time="${seconds}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="signalbox" ${numbers}>`,
    `  <testsuite name="${attribute(suite)}" id="${attribute(evaluationId)}" ${numbers}>`,
    ...tests.map((test) => testcase(suite, test)),
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function caseTest({ key, counts, passRate, latency, flaws }: CaseScore, minPassRate: number): Test {
  const { passed = 0, failed = 0, errors = 0 } = counts ?? {};
  const message = `${passed} passed, ${failed} failed, ${errors} errors`;
  const detail = flaws.map(flawText).join("\n");
  const seconds = (latency?.medianMs ?? 0) / 1_000;
  const test = { name: key, seconds, note: detail };
  if (passRate === undefined) return { ...test, finding: { element: "error", message, detail } };
  return { ...test, finding: passRate.upper < minPassRate ? { element: "failure", message, detail } : undefined };
}

function gateTest({ scorecard, error }: Evaluation): Test {
  const test = { name: "gate", seconds: 0, note: "" };
  if (scorecard === undefined) {
    const message = error === undefined ? "the evaluation has no scorecard" : `${error.code}: ${error.message}`;
    return { ...test, finding: { element: "error", message, detail: "" } };
  }
  const reasons = scorecard.gate?.reasons.map(({ message }) => message).join("\n") ?? "";
  switch (scorecard.gate?.verdict) {
    case GateVerdict.PASS:
      return { ...test, finding: undefined, note: reasons };
    case GateVerdict.FAIL:
      return { ...test, finding: { element: "failure", message: "FAIL", detail: reasons } };
    case GateVerdict.INCONCLUSIVE:
      return { ...test, finding: { element: "skipped", message: `INCONCLUSIVE: ${reasons}`, detail: "" } };
    case GateVerdict.UNSPECIFIED:
    case undefined:
    default:
      return {
        ...test,
        finding: { element: "error", message: "the verdict is not known to this program", detail: "" },
      };
  }
}

function testcase(suite: string, { name, seconds, finding, note }: Test): string {
  const open = `    <testcase classname="${attribute(suite)}" name="${attribute(name)}" time="${seconds}">`;
  const inside = [
    ...(finding === undefined
      ? []
      : [
          `<${finding.element} message="${attribute(finding.message)}">${content(finding.detail)}</${finding.element}>`,
        ]),
    ...(finding === undefined && note !== "" ? [`<system-out>${content(note)}</system-out>`] : []),
  ];
  return `${open}${inside.join("")}</testcase>`;
}

function flawText({ runId, repeat, error, check, message }: TrialFlaw): string {
  const what = error ? "error" : "failed";
  return [`trial ${repeat} ${what}`, runId, check, message].filter((text) => text !== "").join(": ");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** Text between tags. What XML 1.0 has no way to say, not even by a reference, is shown as its code. */
function content(text: string): string {
  return text
    .toWellFormed()
    .replace(/[&<>"']/g, (character) => entities[character] ?? character)
    .replace(/\r/g, "&#13;")
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, (character) => {
      return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
    });
}

/** Text of an attribute, whose white space readers would otherwise fold. */
function attribute(text: string): string {
  return content(text).replace(/\n/g, "&#10;").replace(/\t/g, "&#9;");
}
