import { expect, test } from "vitest";
import { Code, reasonOf } from "../../src/client/client.ts";
import { downloadBytes } from "../../src/engine/artifact-download.ts";
import type { Handler } from "../../src/engine/worker.ts";
import { openTestSignalbox, recordRun, replayRun } from "../../src/testing/testing.ts";

const large = "ä".repeat(300_000);

/** Stores a file, and has a step with a large output. */
const report: Handler = async (ctx) => {
  const text = await ctx.step("load", () => large);
  const { artifactId } = await ctx.artifact("report.txt", `${text.length} characters`);
  if (ctx.attempt === 1) throw new Error("once more");
  return { artifactId, length: text.length };
};

const request = { handler: "report", retryPolicy: { maxAttempts: 2 } } as never;

test("a run stores files and large outputs, sealed, and finds them in its next attempt", async () => {
  await using signalbox = await openTestSignalbox({ handlers: { report } });
  const { run, output, artifacts, steps, error } = await signalbox.run(request);
  expect(error).toBeUndefined();
  const [file, ...more] = artifacts;
  expect(more).toEqual([]);
  expect(output).toEqual({ artifactId: file?.artifactId, length: 300_000 });
  expect(run.artifactSummary).toMatchObject({ count: 1, totalSizeBytes: 17n });
  expect(
    steps.map(({ key, output: kept, outputArtifactId }) => [key, kept === undefined, outputArtifactId !== ""]),
  ).toEqual([
    ["load", true, true],
    ["report.txt", false, false],
  ]);
  const bytes = await downloadBytes(signalbox.client.artifacts, file?.artifactId ?? "");
  expect(new TextDecoder().decode(bytes)).toBe("300000 characters");
});

test("a fork takes files and large outputs from the run it began as", async () => {
  let loads = 0;
  const fork: Handler = async (ctx) => {
    const text = await ctx.step("load", () => {
      loads++;
      return large;
    });
    return [text.length, (await ctx.artifact("a.txt", "a")).artifactId];
  };
  await using signalbox = await openTestSignalbox({ handlers: { fork } });
  const first = await signalbox.run({ handler: "fork" });
  // Somebody else forks it than has created it.
  const { runs } = signalbox.client.onBehalfOf("user:bob");
  const forked = await runs.forkRun({ runId: first.run.runId, position: first.run.position });
  const second = await signalbox.resume(forked.run?.runId ?? "");
  expect(second.error).toBeUndefined();
  expect(second.output).toEqual(first.output);
  expect(loads).toBe(1);
  expect(second.artifacts).toEqual([]);
});

test("a file is for who created the run, until its time is over", async () => {
  await using signalbox = await openTestSignalbox({ handlers: { report } });
  const { artifacts } = await signalbox.run(request);
  const { artifactId = "" } = artifacts[0] ?? {};
  const download = (client = signalbox.client) => downloadBytes(client.artifacts, artifactId).catch(reasonOf);
  expect(await download(signalbox.client.onBehalfOf("user:mallory"))).toBe("PERMISSION_DENIED");
  expect(await download()).toHaveLength(17);
  await signalbox.advance(8 * 24 * 3_600_000);
  expect(await download()).toBe("ARTIFACT_EXPIRED");
});

test("a recording has the outputs that artifacts have, and is replayed without them", async () => {
  await using signalbox = await openTestSignalbox({ handlers: { report } });
  const { run, output } = await signalbox.run(request);
  const recording = await recordRun(signalbox.client, run.runId);
  const replayed = await replayRun(recording, { handlers: { report } });
  expect(replayed.output).toEqual(output);
});

test("an output that is larger than an artifact may be fails its step, and says so", { timeout: 60_000 }, async () => {
  const huge: Handler = (ctx) => ctx.step("load", () => "a".repeat(100 * 1024 * 1024));
  await using signalbox = await openTestSignalbox({ handlers: { huge } });
  const { error } = await signalbox.run({ handler: "huge" });
  expect(error?.code).toBe("PAYLOAD_TOO_LARGE");
  expect(error?.message).toContain("104857602 bytes");
});

test("what needs tables is not there", async () => {
  await using signalbox = await openTestSignalbox({ handlers: { report } });
  await expect(signalbox.client.artifacts.listArtifacts({})).rejects.toMatchObject({ code: Code.Unimplemented });
});
