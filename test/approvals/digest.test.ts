import { fromBinary, fromJson, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ActionSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { payloadDigest } from "../../src/approvals/digest.ts";
import { jsonValue } from "../../src/client/client.ts";
import { canonicalJson } from "../../src/kernel/canonical-json.ts";
import { sha256 } from "../../src/kernel/digest.ts";
import { codeBlocks, readDocuments } from "../docs/documents.ts";

const document = (await readDocuments()).get("docs/approvals.md") ?? "";
const [example = ""] = codeBlocks(document, "json");
const said = JSON.parse(example) as JsonObject &
  Record<"workspace_id" | "run_id" | "tool_call_id" | "step_id" | "policy_hash", string>;

const binding = {
  workspaceId: said.workspace_id,
  runId: said.run_id,
  toolCallId: said.tool_call_id,
  stepId: said.step_id,
  action: fromJson(ActionSchema, said["action"] ?? null),
  policyHash: said.policy_hash,
  payload: jsonValue(said["payload"]),
};

test("the recipe of the documents gives the digest that they say, and so does the program", () => {
  const digest = codeBlocks(document, "text")
    .map((block) => block.trim())
    .find((block) => /^[0-9a-f]{64}$/.test(block));
  expect(Buffer.from(sha256(Buffer.from(canonicalJson(said)))).toString("hex")).toBe(digest);
  expect(payloadDigest(binding)).toBe(digest);
});

test.each([
  ["the workspace", { workspaceId: "ws_other" }],
  ["the run", { runId: "run_other" }],
  ["the call", { toolCallId: "", stepId: binding.toolCallId }],
  ["the type", { action: { ...binding.action, type: "send_mail2" } }],
  ["the target", { action: { ...binding.action, target: "mailto:mallory@example.com" } }],
  ["the effect", { action: { ...binding.action, effect: ToolEffect.READ } }],
  ["being reversible", { action: { ...binding.action, reversible: true } }],
  ["being idempotent", { action: { ...binding.action, idempotent: true } }],
  ["the policy", { policyHash: "" }],
  ["the payload", { payload: jsonValue({}) }],
  ["there being a payload", { payload: undefined }],
])("another digest comes of another value of %s", (_what, change) => {
  expect(payloadDigest({ ...binding, ...change })).not.toBe(payloadDigest(binding));
});

test("half a surrogate pair has the digest of what it is stored as", () => {
  // No client of ours sends it; the JSON of others may.
  const payload = fromJson(ValueSchema, { "cut \ud83d": "cut \ud83d" });
  const stored = fromBinary(ValueSchema, toBinary(ValueSchema, payload));
  expect(payloadDigest({ ...binding, payload })).toBe(payloadDigest({ ...binding, payload: stored }));
});

test("the order of keys does not matter", () => {
  const payload = jsonValue({ copies: 1.5, text: "Grüße", to: "ada@example.com" });
  expect(payloadDigest({ ...binding, payload })).toBe(payloadDigest(binding));
});
