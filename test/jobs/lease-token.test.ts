import { expect, test } from "vitest";
import { createLeaseTokens, type LeaseTokens } from "../../src/jobs/lease-token.ts";

const ticket = { workspaceId: "ws_dev", runId: "run_1", leaseId: "lease_1", ackSubject: "$JS.ACK.JOBS.x.1.2.3.4.0" };

function open(tokens: LeaseTokens, token: string, workspaceId: string): unknown {
  try {
    return tokens.open(token, workspaceId);
  } catch (error) {
    return (error as { reason?: string }).reason;
  }
}

test("a token opens on every server with the same key, as often as it comes", () => {
  const key = new Uint8Array(32).fill(1);
  const token = createLeaseTokens(key).seal(ticket);
  const tokens = createLeaseTokens(key);
  expect([open(tokens, token, "ws_dev"), open(tokens, token, "ws_dev")]).toEqual([ticket, ticket]);
});

test("a token that was opened in its workspace does not open in another one", () => {
  const tokens = createLeaseTokens(new Uint8Array(32));
  const token = tokens.seal(ticket);
  tokens.open(token, "ws_dev");
  expect(open(tokens, token, "ws_other")).toBe("INVALID_REQUEST");
});

test("a token that was changed, or sealed with another key, does not open", () => {
  const tokens = createLeaseTokens(new Uint8Array(32));
  const token = tokens.seal(ticket);
  tokens.open(token, "ws_dev");
  const changed = (token.startsWith("A") ? "B" : "A") + token.slice(1);
  const foreign = createLeaseTokens(new Uint8Array(32).fill(1)).seal(ticket);
  expect([changed, foreign, ""].map((bad) => open(tokens, bad, "ws_dev"))).toEqual(Array(3).fill("INVALID_REQUEST"));
});
