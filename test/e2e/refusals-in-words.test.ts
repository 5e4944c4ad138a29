import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, expect, test } from "vitest";
import { ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { askByCall, decision, mail } from "./people.ts";
import { refusal } from "./refusal.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const baseUrl = installation.url;

const transports: [string, () => Transport][] = [
  ["Connect over HTTP/1.1", () => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
  ["gRPC", () => createGrpcTransport({ baseUrl })],
  ["gRPC-Web over HTTP/1.1", () => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
];

// What people and rules say ends up in the message of an error, which gRPC carries in the trailers of the answer.
test.each(transports)("%s carries a denial with the longest comment", async (_, transport) => {
  const client = installation.client({ transport: transport(), workspaceId: newWorkspaceId() });
  const { claimed, approval } = await askByCall(client);
  const comment = "€".repeat(5_000);
  await client.approvals.decideApproval({ ...decision(approval, ApprovalVerdict.DENY), comment });
  const again = { leaseToken: claimed.leaseToken, ...mail, arguments: jsonValue({ text: "hello" }) };
  const refused = await refusal(client.engine.startToolCall(again));
  expect(refused.reason).toBe("APPROVAL_DENIED");
  expect(refused.message).toContain(comment);
});

test.each(transports)("%s carries what a rule could not read", async (_, transport) => {
  const client = installation.client({ transport: transport(), workspaceId: newWorkspaceId() });
  const cedar = "permit(principal, action, resource) when { ip(context.arguments.text).isLoopback() };";
  await client.policy.putPolicy({ policy: { cedar } });
  await client.runs.createRun({ handler: "by_hand" });
  const { leaseToken } = await client.engine.claimRun({ handlers: ["by_hand"], workerId: "w" });
  const call = { leaseToken, ...mail, arguments: jsonValue({ text: "9".repeat(500_000) }) };
  const refused = await refusal(client.engine.startToolCall(call));
  expect(refused.reason).toBe("POLICY_DENIED");
  expect(refused.message).toMatch(/^the policy could not be evaluated: rule 1: .{1,600}$/);
});
