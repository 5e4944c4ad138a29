import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/signalbox/v1/error_reason_pb.ts";
import { type Setting, settingTable } from "../../src/cli/setting-table.ts";
import { eventTypes } from "../../src/eventlog/event-type.ts";
import { type Reason, SignalboxError, toConnectError } from "../../src/kernel/errors.ts";
import { maxOpenPerRun, maxStepsPerRun } from "../../src/runs/step-decider.ts";
import { defaultLimits, maxTimeoutMs } from "../../src/server/limits.ts";
import { codeRows, readDocuments } from "./documents.ts";

const documents = await readDocuments();
const operations = documents.get("docs/operations.md") ?? "";

test("the table of settings is that of the program", () => {
  const settings: Setting[] = Object.values(settingTable);
  const rows = settings.map(({ variable, fallback, unset = "", description, allowed }) => {
    const given = fallback === "" ? "empty" : `\`${fallback}\``;
    return [variable, fallback === undefined ? unset : given, description, allowed];
  });
  const variables = new Set(rows.map(([variable]) => variable));
  expect(codeRows(operations).filter(([variable]) => variables.has(variable))).toEqual(expect.arrayContaining(rows));
});

test("every reason stands in the table of errors, with its code", () => {
  const reasons = Object.keys(ErrorReason).filter((name): name is Reason => !/^\d|^UNSPECIFIED$/.test(name));
  const codes = reasons.map((reason) => [reason, codeName(toConnectError(new SignalboxError(reason, "")).code)]);
  const rows = codeRows(documents.get("docs/errors.md") ?? "").map(([reason, code = ""]) => [
    reason,
    code.replaceAll("`", ""),
  ]);
  expect(rows).toEqual(expect.arrayContaining(codes));
});

test("every event type is named", () => {
  const concepts = documents.get("docs/concepts.md") ?? "";
  for (const type of Object.values(eventTypes)) expect(concepts).toContain(`\`${type}\``);
});

test("the limits are those of the program", () => {
  const { maxConcurrentStreams, maxConnections, maxHeaderBytes, maxHeaderFields, maxAgeMs, idleTimeoutMs } =
    defaultLimits;
  for (const row of [
    `| steps of a run; tool calls of a run | ${maxStepsPerRun.toLocaleString("en")} each |`,
    `| of these under way at once | ${maxOpenPerRun.toLocaleString("en")} each |`,
    `| deadline of a call | ${maxTimeoutMs / 60_000} minutes;`,
    `| streams at once on an HTTP/2 connection | ${maxConcurrentStreams} |`,
    `| connections of a server | ${maxConnections.toLocaleString("en")} |`,
    `| headers of a request | ${maxHeaderBytes / 1024} KiB, ${maxHeaderFields} fields |`,
    `| age of an HTTP/2 connection; idle | ${maxAgeMs / 60_000} minutes; ${idleTimeoutMs / 60_000} minutes |`,
  ]) {
    expect(operations).toContain(row);
  }
});

/** `NOT_FOUND` for Code.NotFound. */
function codeName(code: Code): string {
  return (Code[code] ?? "").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
