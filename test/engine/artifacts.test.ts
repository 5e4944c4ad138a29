import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { StepKind } from "../../src/client/client.ts";
import { type ArtifactContent, ArtifactVisibility, type Handler, HandlerError } from "../../src/engine/worker.ts";
import { fakeEngine } from "./fake-engine.ts";
import { changing, outcomeOf } from "./running.ts";

const mib = 1024 * 1024;
const large = new Uint8Array(2 * mib + 5).map((_, index) => index % 251);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The bytes as a stream that can be read once, in pieces of an odd size. */
async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001);
}

const once = { retryPolicy: { maxAttempts: 1 } };

describe("ctx.artifact", () => {
  test("stores text as a file of the run, and answers what is on record of it", async () => {
    const engine = fakeEngine();
    const { run, output } = await outcomeOf(engine, async (ctx) => {
      const artifact = await ctx.artifact("report.md", "# grün", { labels: { kind: "report" } });
      const { $typeName, name, contentType, sizeBytes, runId } = artifact;
      return { $typeName, name, contentType, sizeBytes: Number(sizeBytes), runId };
    });
    expect(output).toEqual({
      $typeName: "signalbox.v1.Artifact",
      name: "report.md",
      contentType: "text/plain; charset=utf-8",
      sizeBytes: 7,
      runId: run.run.runId,
    });
    const [stored] = engine.artifacts.all;
    expect(stored?.artifact).toMatchObject({ stepId: "step_report.md", labels: { kind: "report" } });
    expect(new TextDecoder().decode(stored?.bytes)).toBe("# grün");
    expect(run.steps.get("report.md")?.kind).toBe(StepKind.ARTIFACT);
  });

  const sources: Record<string, () => ArtifactContent> = {
    bytes: () => large,
    "a generator": () => streamOf(large),
    "a web stream": () => Readable.toWeb(Readable.from(streamOf(large))) as ReadableStream<Uint8Array>,
    "a Node stream": () => Readable.from(streamOf(large)),
    "a function that opens a stream": () => () => streamOf(large),
  };
  test.each(Object.entries(sources))("uploads %s as it comes", async (_what, content) => {
    const engine = fakeEngine();
    await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", content()).then(() => null));
    expect(engine.artifacts.all.map(({ artifact }) => artifact.sha256)).toEqual([sha256(large)]);
    expect(engine.callsOf("uploadArtifact")).toHaveLength(1);
  });

  test.each([
    ["an empty stream", new Uint8Array()],
    ["a short stream", large.subarray(0, 300_000)],
  ])("sends %s in one call", async (_what, bytes) => {
    const engine = fakeEngine();
    await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", streamOf(bytes)).then(() => null));
    expect(engine.artifacts.all.map(({ artifact }) => artifact.sha256)).toEqual([sha256(bytes)]);
    expect(engine.callsOf("createArtifact")).toHaveLength(1);
  });

  test("is answered from the record in a replay, without reading the content again", async () => {
    const engine = fakeEngine();
    const ids: string[] = [];
    let opened = 0;
    const store: Handler = async (ctx) => {
      const artifact = await ctx.artifact("data.bin", () => {
        opened++;
        return streamOf(large);
      });
      ids.push(artifact.artifactId);
      return artifact.artifactId;
    };
    const { status } = await outcomeOf(engine, changing(store, store));
    expect(status).toBe("SUCCEEDED");
    expect(ids).toEqual(["art_1", "art_1"]);
    expect(opened).toBe(1);
    expect(engine.callsOf("getArtifact")).toHaveLength(0);
  });

  test("is the one that is on record when a worker died before its step had ended, whatever the bytes are now", async () => {
    const engine = fakeEngine();
    engine.fault = ({ method, request }, when) => {
      const own = engine.runs[0];
      if (method !== "completeStep" || when !== "before" || own?.run.attempt !== 1) return;
      if ((request as { stepId: string }).stepId !== "step_now.txt") return;
      engine.expire(own);
      throw new ConnectError("the worker died", Code.Unavailable);
    };
    const { output } = await outcomeOf(engine, async (ctx) => {
      const same = await ctx.artifact("same.txt", "same");
      const now = await ctx.artifact("now.txt", `attempt ${ctx.attempt}`);
      return [same.artifactId, now.artifactId];
    });
    expect(output).toEqual(["art_1", "art_2"]);
    expect(engine.artifacts.all.map(({ bytes }) => new TextDecoder().decode(bytes))).toEqual(["same", "attempt 1"]);
  });

  test("is uploaded again when its answer is lost", async () => {
    const engine = fakeEngine();
    engine.fault = ({ method }, when) => {
      const isFirst = engine.callsOf("uploadArtifact").length === 1;
      if (method === "uploadArtifact" && when === "after" && isFirst) throw new ConnectError("gone", Code.Unavailable);
    };
    const { status } = await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", large).then(() => null));
    expect(status).toBe("SUCCEEDED");
    expect(engine.callsOf("uploadArtifact")).toHaveLength(2);
    expect(engine.artifacts.all).toHaveLength(1);
  });

  test("opens the stream again when the upload broke off, where a function does that", async () => {
    const engine = fakeEngine();
    let opened = 0;
    engine.artifacts.onMessage = (count) => {
      if (opened === 1 && count === 2) throw new ConnectError("broken", Code.Unavailable);
    };
    const open = () => {
      opened++;
      return streamOf(large);
    };
    const { status } = await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", open).then(() => null));
    expect(status).toBe("SUCCEEDED");
    expect(opened).toBe(2);
    expect(engine.artifacts.all.map(({ artifact }) => artifact.sha256)).toEqual([sha256(large)]);
  });

  test("fails the attempt when the upload of a stream broke off, and the next attempt stores it", async () => {
    const engine = fakeEngine();
    let broken = false;
    engine.artifacts.onMessage = (count) => {
      if (count === 2 && !broken) {
        broken = true;
        throw new ConnectError("broken", Code.Unavailable);
      }
    };
    const errors: unknown[] = [];
    const { status } = await outcomeOf(
      engine,
      (ctx) => ctx.artifact("data.bin", streamOf(large)).then(() => null),
      {},
      { onError: (error) => errors.push(error) },
    );
    expect(errors).toMatchObject([{ code: "ARTIFACT_STREAM_READ", retryable: true }]);
    expect(status).toBe("SUCCEEDED");
    expect(engine.artifacts.all.map(({ artifact }) => artifact.sha256)).toEqual([sha256(large)]);
  });

  test.each([300_000, 2 * mib])(
    "throws what the stream has thrown after %i bytes, and does not repeat it",
    async (size) => {
      const engine = fakeEngine();
      async function* broken() {
        yield* streamOf(large.subarray(0, size));
        throw new HandlerError("DISK_ON_FIRE", "the disk is on fire", { retryable: false });
      }
      const { error } = await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", broken()).then(() => null));
      expect(error).toMatchObject({ code: "DISK_ON_FIRE", message: "the disk is on fire" });
      expect(engine.artifacts.all).toHaveLength(0);
    },
  );

  test("closes the stream when the run is canceled in the middle of it", async () => {
    const engine = fakeEngine(60);
    let closed = false;
    async function* endless() {
      try {
        for (;;) {
          yield large.subarray(0, mib);
          await new Promise((resolve) => void setTimeout(resolve, 1));
        }
      } finally {
        closed = true;
      }
    }
    engine.artifacts.onMessage = (count) => {
      const own = engine.runs[0];
      if (count === 3 && own !== undefined) engine.cancel(own);
    };
    const { status } = await outcomeOf(engine, (ctx) => ctx.artifact("data.bin", endless()).then(() => null));
    expect(status).toBe("CANCELED");
    await expect.poll(() => closed).toBe(true);
  });

  test("says in the run's error what the server does not keep", async () => {
    const engine = fakeEngine();
    engine.artifacts.maxBytes = 10;
    const { error } = await outcomeOf(engine, (ctx) => ctx.artifact("a.txt", "a".repeat(11)).then(() => null));
    expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE", retryable: false });
  });

  test.each([
    ["nothing", undefined, "it is undefined"],
    ["a number", 5, "it is something of type number"],
    ["a stream of text", Readable.from(["text"]), "its stream gave something of type string, not a Uint8Array"],
    ["text with half of a surrogate pair", "\ud800", "it has half of a surrogate pair"],
  ])("refuses %s", async (_what, content, problem) => {
    const { error } = await outcomeOf(
      fakeEngine(),
      (ctx) => ctx.artifact("a.txt", content as never).then(() => null),
      once,
    );
    expect(error).toMatchObject({
      code: "ARTIFACT_CONTENT_INVALID",
      message: expect.stringContaining(problem) as string,
    });
  });

  test("can be for everybody in the workspace, for one recipient and for a time", async () => {
    const engine = fakeEngine();
    await outcomeOf(engine, async (ctx) => {
      const options = { visibility: ArtifactVisibility.WORKSPACE, recipient: "age1x", retentionMs: 90_000 };
      await ctx.artifact("a.json", "{}", { ...options, contentType: "application/json" });
    });
    expect(engine.callsOf("createArtifact")[0]?.request).toMatchObject({
      spec: {
        contentType: "application/json",
        visibility: ArtifactVisibility.WORKSPACE,
        recipient: "age1x",
        retention: { seconds: 90n },
      },
    });
  });
});
