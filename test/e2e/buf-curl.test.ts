import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const run = promisify(execFile);
const buf = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));

describe.each([
  ["grpc", ["--http2-prior-knowledge"]],
  ["grpcweb", []],
  ["grpcweb over h2c", ["--http2-prior-knowledge"]],
  ["connect", []],
  ["connect over h2c", ["--http2-prior-knowledge"]],
])("buf curl knows the contract by reflection and speaks %s:", (name, flags) => {
  const [protocol = ""] = name.split(" ");
  const workspaceId = newWorkspaceId();

  /** The answers, one JSON object after the other. */
  async function curl(method: string, ...messages: unknown[]): Promise<Record<string, unknown>[]> {
    const data = messages.map((message) => JSON.stringify(message)).join("\n");
    const header = ["--header", `x-workspace-id: ${workspaceId}`];
    // Reflection streams both ways, which takes HTTP/2; --reflect-protocol is left to buf, which tries v1 first.
    const args = ["curl", "--protocol", protocol, ...flags, ...header, "--data", data];
    const { stdout } = await run(buf, [...args, `${installation.url}/signalbox.v1.${method}`]);
    return stdout
      .trim()
      .split(/(?<=^\})\n/m)
      .map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  test("unary and streaming", async () => {
    const [created] = await curl("RunService/CreateRun", { handler: "nobody", input: { hello: "world" } });
    expect(created).toMatchObject({ run: { status: "RUN_STATUS_QUEUED", input: { hello: "world" } } });
    const { runId } = (created as { run: { runId: string } }).run;
    await curl("RunService/CancelRun", { runId });
    const frames = await curl("EventService/Subscribe", { filter: { runId } });
    expect(frames).toMatchObject([
      { ready: {} },
      { event: { type: "run.created", stream: { type: "run", id: runId } } },
      { event: { type: "run.canceled" } },
    ]);
  });

  test("files, streamed both ways", async () => {
    const header = { header: { spec: { name: "greeting.txt", contentType: "text/plain" } } };
    const frames = [
      header,
      { data: Buffer.from("hel").toString("base64") },
      { data: Buffer.from("lo").toString("base64") },
    ];
    const [uploaded] = await curl("ArtifactService/UploadArtifact", ...frames);
    expect(uploaded).toMatchObject({ artifact: { name: "greeting.txt", sizeBytes: "5" } });
    const { artifactId } = (uploaded as { artifact: { artifactId: string } }).artifact;
    const received = await curl("ArtifactService/DownloadArtifact", { artifactId, offset: "1" });
    expect(received).toMatchObject([{ header: { artifact: { artifactId } } }, { data: "ZWxsbw==" }]);
  });

  test("rooms", async () => {
    const [created] = await curl("RoomService/CreateRoom", { name: "control" });
    const { roomId } = (created as { room: { roomId: string } }).room;
    const [posted] = await curl("RoomService/PostMessage", { roomId, text: "hello" });
    const { position: minPosition } = posted as { position: string };
    const [changes] = await curl("RoomService/GetRoomChanges", { roomId, afterPosition: "0", minPosition });
    expect(changes).toMatchObject({ messages: [{ text: "hello" }], messageCount: "1" });
  });
});
