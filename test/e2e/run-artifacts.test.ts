import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { type Artifact, ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import { reasonOf, RunStatus, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { downloadBytes } from "../../src/engine/artifact-download.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { createRun, ended, eventTypes } from "./runs.ts";

const installation = await openInstallation({ leaseTtlMs: 1_500 });
afterAll(() => installation[Symbol.asyncDispose]());

const script = fileURLToPath(new URL("dying-worker.ts", import.meta.url));

/** A worker in a process of its own. It ends with the test. */
function startWorker(workspaceId: string, diesBefore: string): AsyncDisposable & { readonly child: ChildProcess } {
  const own = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId, DIES_BEFORE: diesBefore };
  const child = spawn(process.execPath, [script], { env: { ...process.env, ...own }, stdio: "inherit" });
  const exited = once(child, "exit");
  return {
    child,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** The files of a run, the oldest first, and how each begins. */
async function filesOf(client: SignalboxClient, runId: string, minPosition: bigint) {
  const { artifacts } = await client.artifacts.listArtifacts({ runId, minPosition });
  const read = async ({ artifactId, name, sizeBytes }: Artifact) => {
    const begin = Buffer.from(await downloadBytes(client.artifacts, artifactId)).toString("utf8", 0, 9);
    return { artifactId, name, sizeBytes: Number(sizeBytes), begin };
  };
  return Promise.all(artifacts.toReversed().map(read));
}

// The first CompleteStep is that of the large output, the second that of the small file, the third that of the streamed one.
test.for([
  { diesBefore: "1", loadedBy: 2, begins: ["attempt 2", "2 xxxxxxx"] },
  { diesBefore: "2", loadedBy: 1, begins: ["attempt 1", "2 xxxxxxx"] },
  { diesBefore: "3", loadedBy: 1, begins: ["attempt 1", "1 xxxxxxx"] },
])(
  "a worker that is killed between an upload and its record ($diesBefore) leaves one artifact, and outputs are read again",
  { timeout: 60_000 },
  async ({ diesBefore, loadedBy, begins }) => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ workspaceId }).onBehalfOf("user:alice");
    await using first = startWorker(workspaceId, diesBefore);
    const dead = once(first.child, "exit");
    const runId = await createRun(client, { handler: "report", retryPolicy: { initialBackoff: { nanos: 1_000_000 } } });
    expect(await dead).toEqual([null, "SIGKILL"]);

    await using _second = startWorker(workspaceId, "");
    const run = await ended(client, runId);
    expect(run).toMatchObject({ status: RunStatus.SUCCEEDED, attempt: 2 });
    const files = await filesOf(client, runId, run.position);
    const [small, large] = [9, 3_000 * 1_003];
    expect(files).toMatchObject([
      { name: "report.txt", sizeBytes: small, begin: begins[0] },
      { name: "rows.txt", sizeBytes: large, begin: begins[1] },
    ]);
    expect(valueToJson(run.output)).toEqual({
      loadedBy,
      length: 200 * 1024,
      files: files.map(({ artifactId }) => artifactId),
    });
    expect(run.artifactSummary).toMatchObject({ count: 2, totalSizeBytes: BigInt(small + large) });
    const { artifacts: outputs } = await client.artifacts.listArtifacts({
      runId,
      purposes: [ArtifactPurpose.STEP_OUTPUT],
    });
    // What the first attempt loaded and nobody recorded is another output than what the second one did.
    expect(outputs).toHaveLength(loadedBy);

    // Bob may not read Alice's files, but what his fork reuses of her run's record.
    const bob = installation.client({ workspaceId }).onBehalfOf("user:bob");
    expect(await downloadBytes(bob.artifacts, files[0]?.artifactId ?? "").catch(reasonOf)).toBe("PERMISSION_DENIED");
    const fork = await bob.runs.forkRun({ runId });
    const forked = await ended(bob, fork.run?.runId ?? "");
    expect(forked.output).toEqual(run.output);
    expect(forked.artifactSummary).toBeUndefined();
    expect((await eventTypes(bob, forked.runId)).filter((type) => type.startsWith("step."))).toEqual([
      "step.reused",
      "step.reused",
      "step.reused",
    ]);
  },
);
