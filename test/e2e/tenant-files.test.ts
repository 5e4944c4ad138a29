import { Code } from "@connectrpc/connect";
import { afterAll, expect, test } from "vitest";
import { AccessMethod, AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { furnishedBytes, furnishFiles, strangerKey } from "./furnished-files.ts";
import { accessesTo, downloaded } from "./files.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { headPosition } from "./subscribed.ts";
import { neverWere } from "./tenant-ids.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const [workspaceA, workspaceB] = [newWorkspaceId(), newWorkspaceId()];
const a = installation.client({ workspaceId: workspaceA });
const b = installation.client({ workspaceId: workspaceB });
const [ofA, ofB] = [await furnishFiles(a), await furnishFiles(b)];
const { artifactId } = ofA;
const never = neverWere["artifact_id"] ?? "";

test("a refused attempt stands in the log of who tried, as one at an id that never was, and not in the owner's", async () => {
  for (const id of [artifactId, never]) {
    expect(await reasonFor(downloaded(b, id))).toBe("ARTIFACT_NOT_FOUND");
    expect(await reasonFor(b.artifacts.createDownloadUrl({ artifactId: id }))).toBe("ARTIFACT_NOT_FOUND");
    expect(await accessesTo(b, id)).toMatchObject([
      { method: AccessMethod.LINK, outcome: AccessOutcome.NOT_FOUND, runId: "", grantee: "", grantId: "" },
      { method: AccessMethod.DOWNLOAD, outcome: AccessOutcome.NOT_FOUND, runId: "", grantee: "", grantId: "" },
    ]);
  }
  const seen = await accessesTo(a, artifactId);
  expect(seen.map(({ outcome }) => outcome)).toEqual(seen.map(() => AccessOutcome.GRANTED));
});

test("a command that names another workspace's file, upload, grant, link or suite changes nothing there", async () => {
  const afterPosition = await headPosition(a);
  const { uploadId, grantId, linkId, suiteId } = ofA;
  const data = Buffer.from("abc");
  const grantee = { who: { case: "principal", value: "user:mallory" } } as const;
  const outcomes = await Promise.allSettled([
    b.artifacts.deleteArtifact({ artifactId, permanent: true }),
    b.artifacts.restoreArtifact({ artifactId }),
    b.artifacts.setLegalHold({ artifactId, held: true, reason: "x" }),
    b.artifacts.grantAccess({ artifactId, grantee }),
    b.artifacts.revokeAccess({ artifactId, grantId }),
    b.artifacts.revokeDownloadUrl({ artifactId, linkId }),
    b.artifacts.uploadChunk({ uploadId, index: 0, data }),
    b.artifacts.finishUpload({ uploadId }),
    b.evals.archiveSuite({ suiteId }),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => "rejected"));
  const { position: minPosition } = await a.runs.createRun({ handler: "nobody" });
  const { events } = await a.events.listEvents({ afterPosition, minPosition });
  expect(events.map(({ type }) => type)).toEqual(["run.created"]);
  expect((await a.artifacts.getUpload({ uploadId })).upload).toMatchObject({ receivedChunks: [] });
});

test("no list, no figure and no bundle of a workspace shows anything of another one", async () => {
  const { position: minPosition } = await b.runs.createRun({ handler: "nobody" });
  const page = { minPosition, pageSize: 200 };
  const [files, accesses, suites, versions, evaluations, { usage }] = await Promise.all([
    b.artifacts.listArtifacts(page),
    b.artifacts.listAccess(page),
    b.evals.listSuites(page),
    b.evals.listSuiteVersions({ ...page, suiteId: ofB.suiteId }),
    b.evals.listEvaluations(page),
    b.artifacts.getStorageUsage({ minPosition }),
  ]);
  const owned = [...files.artifacts, ...suites.suites, ...versions.suites, ...evaluations.evaluations];
  expect(owned).toHaveLength(4);
  expect(new Set(owned.map(({ workspaceId }) => workspaceId))).toEqual(new Set([workspaceB]));
  expect(new Set(accesses.accesses.map(({ runId }) => runId))).toEqual(new Set(["", ofB.runId]));
  expect(usage).toMatchObject({ artifactCount: 1n, sizeBytes: BigInt(furnishedBytes.length) });
});

test("what a request lists of another workspace is not there, whichever it is", async () => {
  for (const id of [artifactId, never]) {
    const bundle = Array.fromAsync(b.artifacts.downloadBundle({ runId: ofB.runId, artifactIds: [id] }));
    expect(await refusal(bundle)).toMatchObject({ code: Code.NotFound, reason: "ARTIFACT_NOT_FOUND" });
  }
  for (const runId of [ofA.runId, neverWere["run_id"] ?? ""]) {
    const runs = [{ runId, caseKey: "a" }];
    const target = { target: { case: "recorded" as const, value: { runs } } };
    expect(await reasonFor(b.evals.evaluate({ suiteId: ofB.suiteId, target }))).toBe("RUN_NOT_FOUND");
  }
});

test("a step completes with no file of another workspace", async () => {
  const { leaseToken, stepId } = ofB;
  const complete = (outputArtifactId: string) => b.engine.completeStep({ leaseToken, stepId, outputArtifactId });
  const [foreign, unknown] = [await refusal(complete(artifactId)), await refusal(complete(never))];
  expect(foreign).toEqual({
    ...unknown,
    message: unknown.message.replaceAll(never, artifactId),
    metadata: expect.anything() as unknown,
  });
  expect(foreign.reason).not.toBeUndefined();
});

test("a signed URL is good for its own workspace and file only, and the refusal is on record there", async () => {
  const response = await fetch(ofA.linkUrl, { redirect: "manual" });
  const signed = new URL(response.headers.get("location") ?? "", ofA.linkUrl).href;
  expect(Buffer.from(await (await fetch(signed)).bytes())).toEqual(furnishedBytes);
  const elsewhere = {
    [signed.replace(workspaceA, workspaceB)]: 403,
    [signed.replace(artifactId, ofB.artifactId)]: 403,
    [signed.replace(artifactId, ofB.artifactId).replace(workspaceA, workspaceB)]: 403,
  };
  for (const [changed, status] of Object.entries(elsewhere)) {
    const refused = await fetch(changed);
    expect({ changed, status: refused.status }).toEqual({ changed, status });
    expect(await refused.text()).not.toContain("report");
  }
  const found = await accessesTo(b, ofB.artifactId);
  expect(found[0]).toMatchObject({ method: AccessMethod.URL, outcome: AccessOutcome.REFUSED, runId: ofB.runId });
  expect(found.filter(({ outcome }) => outcome === AccessOutcome.REFUSED)).toHaveLength(1);
  expect(await accessesTo(b, artifactId)).not.toContainEqual(expect.objectContaining({ method: AccessMethod.URL }));
});

test("who asks for a challenge of another workspace gets one, and it is worth nothing", async () => {
  const grantee = { who: { case: "ed25519PublicKey", value: strangerKey } } as const;
  const ask = async (client: SignalboxClient, id: string) =>
    (await client.artifacts.createAccessChallenge({ artifactId: id, grantee })).challenge;
  const [own, foreign] = [await ask(a, artifactId), await ask(b, artifactId)];
  expect(foreign.split("\n").length).toBe(own.split("\n").length);
  const signature = "00".repeat(64);
  const answers = [
    [b, foreign],
    [b, own],
    [b, await ask(b, never)],
  ] as const;
  for (const [client, challenge] of answers) {
    expect(await reasonFor(client.artifacts.answerAccessChallenge({ challenge, signature }))).toBe("PERMISSION_DENIED");
  }
  expect(await accessesTo(b, artifactId)).not.toContainEqual(
    expect.objectContaining({ method: AccessMethod.CHALLENGE }),
  );
});
