import { randomBytes } from "node:crypto";
import { afterAll, expect, test } from "vitest";
import { valueToJson } from "../../src/client/client.ts";
import { downloadBytes } from "../../src/engine/artifact-download.ts";
import { artifactOptions } from "../support/artifact-options.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createRun, ended } from "./runs.ts";

const mib = 1024 * 1024;
const artifacts = artifactOptions(randomBytes(32));
const installation = await openInstallation({
  artifacts: { ...artifacts, limits: { ...artifacts.limits, maxArtifactBytes: 4 * mib } },
});
afterAll(() => installation[Symbol.asyncDispose]());

const wires = [
  { protocol: "connect", httpVersion: "2", transport: "unary" },
  { protocol: "grpc", httpVersion: "2", transport: "stream" },
  { protocol: "grpc-web", httpVersion: "1.1", transport: "unary" },
] as const;

test.for(wires)(
  "files and large outputs go over $protocol, HTTP/$httpVersion, calls by $transport",
  { timeout: 60_000 },
  async (wire) => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    const bytes = Buffer.alloc(3 * mib, "0123456789");
    await using _worker = installation.worker({
      workspaceId,
      ...wire,
      handlers: {
        keep: async (ctx) => {
          const text = await ctx.step("large", () => "a".repeat(2_000_000));
          const { artifactId } = await ctx.artifact("data.bin", bytes);
          if (ctx.attempt === 1) throw new Error("once more");
          return [text.length, artifactId];
        },
      },
    });
    const retryPolicy = { initialBackoff: { nanos: 1_000_000 } };
    const run = await ended(client, await createRun(client, { handler: "keep", retryPolicy }));
    const [length, artifactId] = valueToJson(run.output) as [number, string];
    expect(length).toBe(2_000_000);
    expect(Buffer.from(await downloadBytes(client.artifacts, artifactId)).equals(bytes)).toBe(true);
  },
);

test.for(wires)(
  "a stream beyond the limit is refused over $protocol, HTTP/$httpVersion, and its run says so",
  { timeout: 60_000 },
  async (wire) => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId });
    let closed = false;
    async function* endless() {
      try {
        for (;;) yield Buffer.alloc(mib);
      } finally {
        closed = true;
      }
    }
    await using _worker = installation.worker({
      workspaceId,
      ...wire,
      handlers: { keep: (ctx) => ctx.artifact("data.bin", endless()).then(() => null) },
    });
    const run = await ended(client, await createRun(client, { handler: "keep" }));
    expect(run.error).toMatchObject({ code: "PAYLOAD_TOO_LARGE", retryable: false });
    expect(run.attempt).toBe(1);
    expect(closed).toBe(true);
  },
);
