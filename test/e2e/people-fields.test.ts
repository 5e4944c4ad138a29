import { createHash } from "node:crypto";
import { type DescField, type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { jsonValue, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { methods, pathOf } from "./contract.ts";
import { furnish, goodRequests } from "./furnished.ts";
import { furnishFiles, goodFileRequests } from "./furnished-files.ts";
import { approvalOf, askByCall, askByStep, mail } from "./people.ts";
import { type ErrorBody, infoOf, postJson, postStream } from "./plain-http.ts";
import { allOf, reasons, recordedSince } from "./recorded.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

/** The services that people use, and those of files and evaluations. */
const services = [
  "RoomService",
  "ApprovalService",
  "PolicyService",
  "IncidentService",
  "PipelineService",
  "ArtifactService",
  "EvalService",
];
const ofPeople = methods.filter(({ parent }) => services.includes(parent.name));
const workspaceId = newWorkspaceId();
const client = installation.client({ workspaceId });
const good = { ...goodRequests(await furnish(client)), ...goodFileRequests(await furnishFiles(client)) };

/** What needs no credential takes 16 KiB at most. */
const open = ["ArtifactService/AnswerAccessChallenge", "ArtifactService/CreateAccessChallenge"];
const tooLarge = { status: 429, reason: "PAYLOAD_TOO_LARGE" };

/** What is in the place of a value, and what it is called. */
type Mutation = readonly [what: string, value: unknown];

/** Values that no field of this kind takes. */
function badValues(field: DescField): Mutation[] {
  switch (field.fieldKind) {
    case "enum":
      return [
        ["a number that no value has", 99],
        ["a negative number", -1],
        ["a name that no value has", "NOTHING_OF_THE_KIND"],
        ["a list", [1]],
      ];
    case "scalar":
      if (field.scalar === ScalarType.BYTES)
        return [
          ["a number", 7],
          ["an object", {}],
          ["no base64", "~~~"],
        ];
      return isText(field)
        ? [
            ["a number", 7],
            ["an object", {}],
            ["300,000 characters", "x".repeat(300_000)],
          ]
        : [
            ["text", "many"],
            ["an object", {}],
            ...(field.scalar === ScalarType.DOUBLE
              ? [["no number", "NaN"] as const]
              : ([
                  ["more than 64 bits", "18446744073709551616"],
                  ["a fraction", 0.5],
                ] as const)),
          ];
    case "list":
      return [
        ["text", "x"],
        ["a list in a list", [[]]],
      ];
    case "map":
      return [["a list", []]];
    case "message":
      return field.message.typeName === "google.protobuf.Value"
        ? [["something nested without end", JSON.parse(`${"[".repeat(90)}${"]".repeat(90)}`)]]
        : [
            ["text", "x y"],
            ["a list", [1]],
          ];
  }
}

/** Fields that calls leave out and servers fill in: whatever stands there is not looked at. */
const outputs: Record<string, readonly string[]> = {
  "signalbox.v1.Room": [
    "workspace_id",
    "status",
    "member_count",
    "create_time",
    "update_time",
    "create_by",
    "position",
  ],
  "signalbox.v1.Suite": [
    "workspace_id",
    "status",
    "version",
    "create_time",
    "update_time",
    "create_by",
    "update_by",
    "position",
  ],
  "signalbox.v1.Policy": ["workspace_id", "version", "policy_hash", "update_time", "update_by", "position"],
};

function isOutput({ name, parent }: DescField): boolean {
  return outputs[parent.typeName]?.includes(name) ?? false;
}

/** Every field of a message with the path to it, through messages, each kind of message once. */
function fieldsOf(message: DescMessage, above: readonly DescMessage[] = []): (readonly DescField[])[] {
  return message.fields.flatMap((field) => {
    if (isOutput(field)) return [];
    const { message: inner } = field;
    const isOurs = field.fieldKind === "message" && inner?.typeName.startsWith("signalbox.") && !above.includes(inner);
    const within = isOurs && inner ? fieldsOf(inner, [...above, message]) : [];
    return [[field], ...within.map((path) => [field, ...path])];
  });
}

function withValue(request: object, [field, ...rest]: readonly DescField[], value: unknown): object {
  if (field === undefined) return request;
  const before = (request as Record<string, object | undefined>)[field.jsonName] ?? {};
  return { ...request, [field.jsonName]: rest.length === 0 ? value : withValue(before, rest, value) };
}

function requestOf(method: DescMethod): object {
  const request = good[pathOf(method)];
  if (request === undefined) throw new Error(`${pathOf(method)} is new: enter a good request`);
  return request;
}

/** Streams are called with one message; their error comes behind what they answer, as that of a unary call. */
async function post(method: DescMethod, body: unknown, more: Record<string, string> = {}) {
  const headers = { "x-workspace-id": workspaceId, ...more };
  if (method.methodKind === "unary") return postJson<ErrorBody>(installation.url, pathOf(method), body, headers);
  const message = Buffer.from(JSON.stringify(body));
  const envelopes = await postStream(installation.url, pathOf(method), "json", message, headers);
  const end = JSON.parse(Buffer.from(envelopes.at(-1)?.message ?? []).toString()) as { readonly error?: ErrorBody };
  const { error } = end;
  const statuses: Record<string, number> = { invalid_argument: 400, internal: 500, unknown: 500 };
  return { status: error ? (statuses[error.code] ?? 409) : 200, body: error ?? { code: "", message: "" } };
}

describe.each(ofPeople.map((method) => [pathOf(method), method] as const))("%s", (_name, method) => {
  test("refuses every field that is filled with something else, names it, and records nothing", async () => {
    const before = await headPosition(client);
    for (const path of fieldsOf(method.input)) {
      const names = path.map(({ name }) => name).join(".");
      for (const [what, value] of badValues(path.at(-1)!)) {
        const { status, body } = await post(method, withValue(requestOf(method), path, value));
        const isTooLarge = open.includes(pathOf(method)) && what === "300,000 characters";
        const refused = { names, what, ...(isTooLarge ? tooLarge : { status: 400, reason: "INVALID_REQUEST" }) };
        expect({ names, what, status, reason: infoOf(body)?.["reason"] }).toEqual(refused);
        expect(body.message.length).toBeLessThan(5_000);
      }
    }
    const { status } = await post(method, { ...requestOf(method), nothingOfTheKind: 1 });
    expect(status).toBe(400);
    expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual([]);
  });

  test("is not broken by numbers at their limits", async () => {
    const inTime = { "connect-timeout-ms": "150" };
    for (const path of fieldsOf(method.input)) {
      for (const value of largest(path.at(-1)!)) {
        const { status, body } = await post(method, withValue(requestOf(method), path, value), inTime);
        const name = path.map((field) => field.name).join(".");
        expect({ name, value, status, code: body.code }).toSatisfy(
          (answer: { status: number; code?: string }) => answer.status < 500 || answer.code === "deadline_exceeded",
        );
      }
    }
  });

  test("takes NUL where that can be kept, refuses it elsewhere, and never breaks of it", async () => {
    for (const path of fieldsOf(method.input).filter((fields) => isText(fields.at(-1)!))) {
      const { status } = await post(method, withValue(requestOf(method), path, "a\u0000b"));
      expect({ path: path.map(({ name }) => name).join("."), status }).toSatisfy(
        (answer: { status: number }) => answer.status < 500,
      );
    }
    // What was taken is in the read models: they go on.
    const { position: minPosition } = await client.runs.createRun({ handler: "nobody" });
    expect((await client.runs.listRuns({ minPosition, pageSize: 1 })).runs).toHaveLength(1);
  });
});

/** The largest values of a kind of field, as JSON. */
function largest(field: DescField): string[] {
  if (field.fieldKind === "message") {
    const { typeName } = field.message;
    if (typeName === "google.protobuf.Timestamp") return ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"];
    return typeName === "google.protobuf.Duration" ? ["315576000000s", "-315576000000s", "0.000000001s"] : [];
  }
  if (field.fieldKind !== "scalar") return [];
  if (field.scalar === ScalarType.UINT64) return ["9223372036854775807", "9223372036854775808", "18446744073709551615"];
  return field.scalar === ScalarType.INT32 ? ["2147483647"] : [];
}

function isText(field: DescField): boolean {
  return field.fieldKind === "scalar" && field.scalar === ScalarType.STRING;
}

test.each<[string, unknown]>([
  ["null", null],
  ["text that only looks alike", ["caf\u00e9", "cafe\u0301"]],
  ["numbers at their limits", [0, -0, 1e21, 1e-7, Number.MAX_SAFE_INTEGER, 5e-324, 0.1 + 0.2]],
  [
    "keys that objects have by themselves",
    JSON.parse('{"__proto__":{"admin":true},"constructor":1,"toString":"x","hasOwnProperty":null}'),
  ],
  ["keys in the order of UTF-16", { "\u{10000}": 1, "\uffff": 2, "10": 3, "9": 4, "": 5 }],
  ["controls and quotes", '\u0000\u0007"\\\u2028\u007f'],
  ["as much depth as there may be", nested(32)],
])("the digest of %s is what anybody computes", async (_name, payload) => {
  const { approval } = await askByCall(client, { arguments: jsonValue(payload) });
  const { runId, toolCallId, policyHash, payloadDigest } = approval;
  const action = {
    type: mail.tool,
    target: mail.target,
    effect: "TOOL_EFFECT_EXTERNAL_WRITE",
    reversible: false,
    idempotent: false,
  };
  const bound = {
    domain: "signalbox.approval.v1",
    workspace_id: workspaceId,
    run_id: runId,
    tool_call_id: toolCallId,
    step_id: "",
    action,
    policy_hash: policyHash,
    payload,
  };
  expect(payloadDigest).toBe(createHash("sha256").update(canonical(bound)).digest("hex"));
  expect(JSON.stringify(valueToJson(approval.payload))).toBe(JSON.stringify(payload));
});

test("a payload that not everybody could read back is refused, whoever sends it", async () => {
  const { claimed, stepId, approval } = await askByStep(client);
  const { leaseToken } = claimed;
  const { approvalId, payloadDigest } = approval;
  const bad = [{ kind: { case: "numberValue", value: Number.NaN } as const }, { kind: { case: undefined } as const }];
  for (const payload of bad) {
    const calls = {
      edit: () => client.approvals.editApproval({ approvalId, payloadDigest, payload }),
      request: () => client.approvals.requestApproval({ leaseToken, stepId, action: { type: "launch" }, payload }),
      call: () => client.engine.startToolCall({ leaseToken, ...mail, arguments: payload }),
      evaluate: () => client.policy.evaluate({ context: { action: { type: "launch" }, payload } }),
    };
    expect(await reasons(client, calls)).toEqual(allOf(Object.keys(calls), "INVALID_REQUEST"));
  }
  expect(await approvalOf(client, approvalId)).toEqual(approval);
});

function nested(levels: number): unknown {
  return levels === 0 ? "deep" : [nested(levels - 1)];
}

/** RFC 8785, written for this test alone. */
function canonical(value: unknown): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`).join()}}`;
}
