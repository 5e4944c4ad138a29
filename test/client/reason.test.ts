import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { isTransient, reasonOf } from "../../src/client/client.ts";
import { type Reason, SignalboxError, toConnectError } from "../../src/kernel/errors.ts";

function refused(reason: Reason): ConnectError {
  return toConnectError(new SignalboxError(reason, "no"));
}

test("the reason is the one that the server gave", () => {
  expect(reasonOf(refused("LEASE_LOST"))).toBe("LEASE_LOST");
});

test("what Signalbox did not refuse has no reason", () => {
  expect(reasonOf(new ConnectError("away", Code.Unavailable))).toBeUndefined();
  expect(reasonOf(new Error("LEASE_LOST"))).toBeUndefined();
  expect(reasonOf("LEASE_LOST")).toBeUndefined();
});

test.each(["DRAINING", "STORE_UNAVAILABLE", "CONTENTION", "RATE_LIMITED", "READ_MODEL_BEHIND"] as const)(
  "%s may pass",
  (reason) => {
    expect(isTransient(refused(reason))).toBe(true);
  },
);

test.each(["LEASE_LOST", "RUN_NOT_FOUND", "INVALID_REQUEST", "PAYLOAD_TOO_LARGE", "UNAUTHENTICATED"] as const)(
  "%s does not pass by itself",
  (reason) => expect(isTransient(refused(reason))).toBe(false),
);

test("a broken connection and a cut-off answer may pass", () => {
  expect(isTransient(new ConnectError("connect ECONNREFUSED", Code.Unavailable))).toBe(true);
  expect(isTransient(new ConnectError("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled))).toBe(true);
  expect(isTransient(new ConnectError("protocol error: missing EndStreamResponse", Code.InvalidArgument))).toBe(true);
});

test("a message that is too large, and what is no error of a call, do not pass by themselves", () => {
  const large = "message size 9 is larger than configured readMaxBytes 8";
  expect(isTransient(new ConnectError(large, Code.ResourceExhausted))).toBe(false);
  expect(isTransient(new Error("connect ECONNREFUSED"))).toBe(false);
  expect(isTransient(undefined)).toBe(false);
});
