import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { openTestServer, post, runId, transports } from "./fixture.ts";

describe.each(Object.entries(transports))("%s", (_name, createTransport) => {
  test("answers a unary call", async () => {
    await using server = await openTestServer();
    const client = createClient(RunService, createTransport(server.url));
    const { run } = await client.createRun({ handler: "echo" }, { headers: { "x-workspace-id": "ws_a" } });
    expect(run).toMatchObject({ runId, handler: "echo", workspaceId: "ws_a" });
  });

  test("sends a stream in order and ends it", async () => {
    await using server = await openTestServer();
    const client = createClient(EventService, createTransport(server.url));
    const frames: unknown[] = [];
    for await (const { frame } of client.subscribe({})) frames.push(frame.case);
    expect(frames).toEqual(["ready", "event", "event"]);
  });

  test("carries an error's reason, unary and in the middle of a stream", async () => {
    await using server = await openTestServer({
      runs: {
        getRun() {
          throw new SignalboxError("RUN_NOT_FOUND", "no such run", { run_id: runId });
        },
      },
      events: {
        async *subscribe() {
          yield { frame: { case: "ready", value: {} } };
          throw new SignalboxError("POSITION_EXPIRED", "too old", { earliest_position: "7" });
        },
      },
    });
    const transport = createTransport(server.url);
    const unary = await createClient(RunService, transport).getRun({ runId }).catch(ConnectError.from);
    expect(unary).toMatchObject({ code: Code.NotFound, rawMessage: "no such run" });
    expect((unary as ConnectError).findDetails(ErrorInfoSchema)).toMatchObject([
      { domain: "signalbox", reason: "RUN_NOT_FOUND", metadata: { run_id: runId } },
    ]);

    const frames: unknown[] = [];
    const streaming = async () => {
      for await (const { frame } of createClient(EventService, transport).subscribe({})) frames.push(frame.case);
    };
    const error = await streaming().catch(ConnectError.from);
    expect(frames).toEqual(["ready"]);
    expect(error).toMatchObject({ code: Code.OutOfRange, rawMessage: "too old" });
    expect((error as ConnectError).findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "POSITION_EXPIRED" }]);
  });

  test("says NOT_IMPLEMENTED for a method that nobody serves", async () => {
    await using server = await openTestServer();
    const client = createClient(RunService, createTransport(server.url));
    const error = await client.listRuns({}).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Unimplemented });
    expect((error as ConnectError).findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "NOT_IMPLEMENTED" }]);
  });
});

test("answers plain JSON, as curl sends it", async () => {
  await using server = await openTestServer();
  const response = await post(server, "signalbox.v1.RunService/CreateRun", {
    handler: "echo",
    input: { hello: "world" },
  });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({
    run: { runId, workspaceId: "ws_dev", handler: "echo", input: { hello: "world" } },
  });
});

test("reads with GET what has no side effects, and nothing else", async () => {
  await using server = await openTestServer();
  const query = (message: unknown) =>
    new URLSearchParams({ connect: "v1", encoding: "json", message: JSON.stringify(message) }).toString();
  const read = await fetch(`${server.url}/signalbox.v1.RunService/GetRun?${query({ runId })}`);
  expect(await read.json()).toEqual({ run: { runId } });
  const write = await fetch(`${server.url}/signalbox.v1.RunService/CreateRun?${query({ handler: "echo" })}`);
  expect(write.status).toBe(405);
  expect(await write.json()).toMatchObject({
    code: "invalid_argument",
    message: "/signalbox.v1.RunService/CreateRun is called with POST, not GET",
  });
});
