import { ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { createAndClaim } from "./claims.ts";

/** Ids of a workspace that has one of everything about files and evaluations. */
export interface FurnishedFiles {
  /** Of a run, with a grant and a link. */
  readonly artifactId: string;
  readonly runId: string;
  readonly leaseToken: string;
  readonly stepId: string;
  readonly grantId: string;
  readonly linkId: string;
  /** What the link is: the whole of its URL. */
  readonly linkUrl: string;
  /** An upload of 3 bytes that nobody has begun to send. */
  readonly uploadId: string;
  readonly suiteId: string;
  /** An evaluation that nobody works on. */
  readonly evaluationId: string;
}

/** What the artifact of every furnished workspace says. */
export const furnishedBytes = Buffer.from("the whole report");

/** Who is granted access: a key that nobody has. */
export const strangerKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/** Puts one of everything about files and evaluations into a workspace. */
export async function furnishFiles(client: SignalboxClient, requestId = ""): Promise<FurnishedFiles> {
  const { artifacts, engine, evals } = client;
  const { run, leaseToken } = await createAndClaim(client, "furnished");
  const { step } = await engine.startStep({ leaseToken, key: "report" });
  const stepId = step?.stepId ?? "";
  const spec = { name: "report.txt", leaseToken, stepId, visibility: ArtifactVisibility.WORKSPACE };
  const { artifact } = await artifacts.createArtifact({ requestId, spec, data: furnishedBytes });
  const artifactId = artifact?.artifactId ?? "";
  const grantee = { who: { case: "ed25519PublicKey", value: strangerKey } } as const;
  const { grant } = await artifacts.grantAccess({ artifactId, grantee });
  const { link, url: linkUrl } = await artifacts.createDownloadUrl({ artifactId });
  const { upload } = await artifacts.createUpload({ spec: { name: "later.txt", sizeBytes: 3n } });
  const { suite } = await evals.putSuite({
    suite: { name: "furnished", cases: [{ key: "a", expected: jsonValue(1) }] },
  });
  const suiteId = suite?.suiteId ?? "";
  const target = { target: { case: "handler", value: "nobody" } } as const;
  const { evaluation } = await evals.evaluate({ requestId, suiteId, target, queue: "nobody" });
  return {
    artifactId,
    runId: run.runId,
    leaseToken,
    stepId,
    grantId: grant?.grantId ?? "",
    linkId: link?.linkId ?? "",
    linkUrl,
    uploadId: upload?.uploadId ?? "",
    suiteId,
    evaluationId: evaluation?.evaluationId ?? "",
  };
}

/** A good request of every method about files and evaluations, as JSON. A new method must be entered here. */
export function goodFileRequests(there: FurnishedFiles): Record<string, object> {
  const { artifactId, runId, grantId, linkId, uploadId, suiteId, evaluationId } = there;
  const spec = { name: "report.txt", contentType: "text/plain", labels: { edition: "4" } };
  const data = Buffer.from("abc").toString("base64");
  const grantee = { ed25519PublicKey: strangerKey };
  const suite = { name: "furnished", cases: [{ key: "a", expected: 1 }] };
  return {
    "ArtifactService/CreateArtifact": { spec, data },
    "ArtifactService/UploadArtifact": { header: { spec } },
    "ArtifactService/CreateUpload": { spec: { ...spec, sizeBytes: "3" } },
    "ArtifactService/UploadChunk": { uploadId, data },
    "ArtifactService/GetUpload": { uploadId },
    "ArtifactService/FinishUpload": { uploadId },
    "ArtifactService/GetArtifact": { artifactId },
    "ArtifactService/ListArtifacts": { runId, name: "report.txt" },
    "ArtifactService/DownloadArtifact": { artifactId },
    "ArtifactService/DeleteArtifact": { artifactId, reason: "none" },
    "ArtifactService/RestoreArtifact": { artifactId, reason: "none" },
    "ArtifactService/SetLegalHold": { artifactId, reason: "none" },
    "ArtifactService/GrantAccess": { artifactId, grantee },
    "ArtifactService/RevokeAccess": { artifactId, grantId },
    "ArtifactService/ListGrants": { artifactId },
    "ArtifactService/CreateAccessChallenge": { artifactId, grantee },
    "ArtifactService/AnswerAccessChallenge": { challenge: "none of ours", signature: "00".repeat(64) },
    "ArtifactService/CreateDownloadUrl": { artifactId },
    "ArtifactService/RevokeDownloadUrl": { artifactId, linkId },
    "ArtifactService/ListAccess": { artifactId, runId },
    "ArtifactService/DownloadBundle": { runId },
    "ArtifactService/GetStorageUsage": {},
    "EvalService/PutSuite": { suite, validateOnly: true },
    "EvalService/GetSuite": { suiteId },
    "EvalService/ListSuites": {},
    "EvalService/ListSuiteVersions": { suiteId },
    "EvalService/ArchiveSuite": { suiteId },
    "EvalService/Evaluate": { suiteId, target: { handler: "nobody" }, queue: "nobody" },
    "EvalService/GetEvaluation": { evaluationId },
    "EvalService/ListEvaluations": { suiteId },
  };
}
