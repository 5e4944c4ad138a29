import { expect, test } from "vitest";
import { openTestServer, post } from "./fixture.ts";

const createRun = "signalbox.v1.RunService/CreateRun";
const run = { handler: "echo" };

test("makes a correlation id for a call that brings none, and returns it", async () => {
  await using server = await openTestServer();
  const response = await post(server, createRun, run);
  const id = response.headers.get("x-correlation-id");
  expect(id).toMatch(/^corr_[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  expect(server.calls).toMatchObject([{ correlationId: id }]);
});

test("keeps the caller's correlation id", async () => {
  await using server = await openTestServer();
  const response = await post(server, createRun, run, { "x-correlation-id": "order/4711" });
  expect(response.headers.get("x-correlation-id")).toBe("order/4711");
  expect(server.calls).toMatchObject([{ correlationId: "order/4711" }]);
});

test("returns the correlation id of a stream", async () => {
  await using server = await openTestServer();
  const frame = Buffer.concat([Buffer.of(0, 0, 0, 0, 2), Buffer.from("{}")]);
  const response = await post(server, "signalbox.v1.EventService/Subscribe", frame, {
    "content-type": "application/connect+json",
    "x-correlation-id": "abc",
  });
  expect(response.headers.get("x-correlation-id")).toBe("abc");
  expect(await response.text()).toContain("headPosition");
});

test.each(["", "two words", "ünicode", "x".repeat(201)])("replaces the correlation id %j", async (given) => {
  await using server = await openTestServer();
  const header = Buffer.from(given).toString("latin1");
  const response = await post(server, createRun, run, { "x-correlation-id": header });
  expect(response.headers.get("x-correlation-id")).toMatch(/^corr_/);
});

const trace = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

test.each([
  ["a valid one", `00-${trace}`, `00-${trace}`],
  ["one of a later version, without what it appends", `cc-${trace}-more`, `cc-${trace}`],
])("carries the trace context: %s", async (_what, given, kept) => {
  await using server = await openTestServer();
  await post(server, createRun, run, { traceparent: given });
  expect(server.calls).toMatchObject([{ traceparent: kept }]);
});

test.each([
  `ff-${trace}`,
  `00-${trace}-more`,
  `00-${trace.toUpperCase()}`,
  `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
  `00-4bf92f3577b34da6a3ce929d0e0e4736-${"0".repeat(16)}-01`,
  "nonsense",
])("ignores the trace context %j", async (given) => {
  await using server = await openTestServer();
  await post(server, createRun, run, { traceparent: given });
  expect(server.calls).toMatchObject([{ traceparent: "" }]);
});
