import { afterAll, expect, test } from "vitest";
import type { Handler } from "../../src/engine/worker.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createCommands } from "./commands.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const speak: Handler = async (ctx) => {
  ctx.emit("Once upon ");
  ctx.emit("a time");
  ctx.emit({ key: "progress", data: { done: 1 } });
  return ctx.waitForMessage();
};
installation.worker({ workspaceId, handlers: { speak } });
const { text, json, list } = createCommands(installation.url, workspaceId);

test("tail --deltas shows output of a run while it is made, and with --json as objects with delta", async () => {
  const { runId } = await json<{ runId: string }>("run", "speak");
  const [told, frames] = [
    text("events", "tail", "--run", runId, "--deltas"),
    list<{ delta?: object }>("events", "tail", "--run", runId, "--deltas"),
  ];
  await json("runs", "send", runId, "go on");
  expect(await told).toMatch(new RegExp(`\n  ${runId}  output  Once upon a time\n`));
  expect(await told).toMatch(new RegExp(`\n  ${runId}  progress  {"done":1}\n`));
  expect((await frames).filter(({ delta }) => delta !== undefined)).not.toEqual([]);
});
