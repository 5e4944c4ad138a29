import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DeleteArtifactRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { createDying } from "./dying.ts";
import {
  createProcess,
  createQueuedRun,
  never,
  newCall,
  openStage,
  type Process,
  remains,
  requireWhole,
  type Stage,
} from "./lifecycle-world.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.[Symbol.asyncDispose]());

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;

/** Everything that runs by itself, by a process that lives. */
async function cleanUp(process: Process) {
  await stage.settled();
  await process.sweeps.heal(never);
  await process.sweeps.expire(never);
  await stage.settled();
  await process.sweeps.purge(never);
  await stage.settled();
  await process.sweepOrphans();
}

/** A process that dies at an effect. */
function dyingProcess(at: number, moment: "before" | "after") {
  const dying = createDying(at, moment);
  const process = createProcess(stage, {
    log: dying.wrap("log", stage.log, ["append"]),
    blobs: dying.wrap("blobs", stage.blobs, ["put", "remove"]),
    keys: dying.wrap("keys", stage.keys, ["issue", "destroy"]),
  });
  return { process, dying };
}

/** Sweeps write down what they could not do: whether the process died is what its effects say. */
async function surviving(work: Promise<unknown>): Promise<void> {
  await work.catch((error: unknown) => {
    if (!(error instanceof Error) || error.name !== "Death") throw error;
  });
}

const moments = [0, 1, 2].flatMap((at) => [
  { at, moment: "before" as const },
  { at, moment: "after" as const },
]);

test.each(moments)("who deletes for ever and dies $moment effect $at is finished off", async ({ at, moment }) => {
  const well = createProcess(stage);
  const call = newCall();
  const { artifactId } = (await well.produce(call, {})).artifact;
  const { process, dying } = dyingProcess(at, moment);
  const request = create(DeleteArtifactRequestSchema, { artifactId, permanent: true });
  await surviving(process.artifacts.delete(call, request));
  expect(["log.append", "keys.destroy", "blobs.remove"].slice(0, at + (moment === "after" ? 1 : 0))).toEqual(
    dying.trace,
  );
  const after = createProcess(stage);
  const known = await after.known(call, artifactId);
  await requireWhole(stage, known);
  await cleanUp(after);
  const gone = { key: false, blobs: false };
  expect(await remains(stage, artifactId)).toEqual(known.status === "purged" ? gone : { key: true, blobs: true });
  await after.artifacts.delete(call, request);
  expect(await remains(stage, artifactId)).toEqual(gone);
});

test.each(moments)("a purge that dies $moment effect $at is finished by the next", async ({ at, moment }) => {
  const call = newCall();
  const well = createProcess(stage);
  const { artifactId } = (await well.produce(call, {})).artifact;
  await well.artifacts.delete(call, create(DeleteArtifactRequestSchema, { artifactId }));
  stage.pass(dayMs);
  await stage.settled();
  const { process, dying } = dyingProcess(at, moment);
  await process.sweeps.purge(never);
  expect(dying.trace).toEqual(["log.append", "keys.destroy", "blobs.remove"].slice(0, dying.trace.length));
  const after = createProcess(stage);
  await requireWhole(stage, await after.known(call, artifactId));
  await cleanUp(after);
  expect(await after.known(call, artifactId)).toMatchObject({ status: "purged" });
  expect(await remains(stage, artifactId)).toEqual({ key: false, blobs: false });
});

test.each(moments.slice(0, 2))("an expiry that dies $moment its event is repeated once", async ({ at, moment }) => {
  const call = newCall();
  const { artifactId } = (await createProcess(stage).produce(call, { retention: durationFromMs(hourMs) })).artifact;
  stage.pass(hourMs);
  await stage.settled();
  await dyingProcess(at, moment).process.sweeps.expire(never);
  const after = createProcess(stage);
  await cleanUp(after);
  const known = await after.known(call, artifactId);
  expect(known.status).toBe("expired");
  await requireWhole(stage, known);
  const { sequence } = await after.aggregates.load(call.workspaceId, artifactId);
  expect(sequence).toBe(2n);
});

// Key, bytes, the run's event, the artifact's event.
test.each(
  [0, 1, 2, 3].flatMap((at) => [
    { at, moment: "before" as const },
    { at, moment: "after" as const },
  ]),
)("who stores an artifact of a run and dies $moment effect $at leaves all of it or nothing", async ({ at, moment }) => {
  const call = newCall();
  const well = createProcess(stage);
  const runId = await createQueuedRun(well, call);
  const { process, dying } = dyingProcess(at, moment);
  await surviving(process.produce(call, { runId }, Buffer.from("hello"), "report-1"));
  const { trace } = dying;
  expect(trace).toEqual(["keys.issue", "blobs.put", "log.append", "log.append"].slice(0, trace.length));
  const after = createProcess(stage);
  await cleanUp(after);
  const isRecorded = trace.filter((name) => name === "log.append").length > 0;
  const { state: run } = await after.runs.load(call.workspaceId, runId);
  expect(run).toMatchObject({ artifacts: { fileCount: isRecorded ? 1 : 0, totalBytes: isRecorded ? 5n : 0n } });
  const again = await after.produce(call, { runId }, Buffer.from("hello"), "report-1");
  expect(again.artifact.runId).toBe(runId);
  const known = await after.known(call, again.artifact.artifactId);
  await requireWhole(stage, known);
  const { state } = await after.runs.load(call.workspaceId, runId);
  expect(state).toMatchObject({ run: { artifactSummary: { count: 1, totalSizeBytes: 5n } } });
  stage.pass(26 * hourMs);
  await cleanUp(after);
  await requireWhole(stage, known);
  const blobs = (await Array.fromAsync(stage.blobs.list())).filter(({ name }) =>
    name.includes(known.artifact.artifactId),
  );
  expect(blobs.map(({ name }) => name)).toEqual(known.parts.map(({ blob }) => blob));
});

// Two keys, two blobs: of one that was never recorded, and of one that is purged.
test.each(
  [0, 1, 2, 3].flatMap((at) => [
    { at, moment: "before" as const },
    { at, moment: "after" as const },
  ]),
)(
  "a sweep of orphans that dies $moment effect $at takes nothing that is needed, and the next one does the rest",
  async ({ at, moment }) => {
    const call = newCall();
    const well = createProcess(stage);
    const kept = (await well.produce(call, {})).artifact.artifactId;
    const abandoned = newCall().workspaceId;
    const orphan = "art_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
    await stage.keys.issue(abandoned, orphan);
    await stage.blobs.put(`${abandoned}/${orphan}/1234`, pieces());
    const young = { key: true, blobs: true };
    await cleanUp(well);
    expect(await remains(stage, orphan)).toEqual(young);
    stage.pass(26 * hourMs);
    const { process } = dyingProcess(at, moment);
    await stage.settled();
    await surviving(process.sweepOrphans());
    const after = createProcess(stage);
    await requireWhole(stage, await after.known(call, kept));
    await cleanUp(after);
    await requireWhole(stage, await after.known(call, kept));
    expect(await remains(stage, orphan)).toEqual({ key: false, blobs: false });
  },
);

test("bytes that only a run has recorded are no orphans, however old", async () => {
  const call = newCall();
  const well = createProcess(stage);
  const runId = await createQueuedRun(well, call);
  // Dies between the run's event and the artifact's own.
  await surviving(dyingProcess(2, "after").process.produce(call, { runId }, Buffer.from("hello"), "report-1"));
  stage.pass(26 * hourMs);
  await stage.settled();
  await createProcess(stage).sweepOrphans();
  const { artifact } = await createProcess(stage).produce(call, { runId }, Buffer.from("hello"), "report-1");
  const known = await createProcess(stage).known(call, artifact.artifactId);
  await expect(requireWhole(stage, known)).resolves.toBeUndefined();
});

async function* pieces() {
  yield Buffer.from("left behind");
}
