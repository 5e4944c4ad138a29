import { create } from "@bufbuild/protobuf";
import {
  ArtifactAccessedSchema,
  ArtifactCreatedSchema,
  ArtifactDeletedSchema,
  ArtifactExpiredSchema,
  ArtifactGrantedSchema,
  ArtifactGrantRevokedSchema,
  ArtifactHeldSchema,
  ArtifactHoldReleasedSchema,
  ArtifactLinkCreatedSchema,
  ArtifactLinkRevokedSchema,
  ArtifactPurgedSchema,
  ArtifactRestoredSchema,
  WorkspaceKeyDestroyedSchema,
  WorkspaceKeyRotatedSchema,
} from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessMethod, AccessOutcome, ArtifactPurpose, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import { RunArtifactAddedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { ada, digest, leaseId, runId, stepId, time } from "./values.ts";

/** The artifact of the samples. */
export const artifactId = "art_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

const grantId = "grant_01K9ZZZZZZZZZZZZZZZZZZZZZZ";
const linkId = "link_01K9ZZZZZZZZZZZZZZZZZZZZZZ";

const created = create(ArtifactCreatedSchema, {
  runId,
  stepId,
  name: "Fahrplan — später.pdf",
  contentType: "application/pdf",
  sizeBytes: 1_572_864n,
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  purpose: ArtifactPurpose.FILE,
  visibility: ArtifactVisibility.WORKSPACE,
  encryption: {
    scheme: "signalbox-sealed-v1",
    keyId: "key_01K9ZZZZZZZZZZZZZZZZZZZZZZ",
    recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
  },
  labels: { line: "4" },
  expireTime: time(3_600),
  parts: [
    { blob: `ws_1/${artifactId}/0123456789abcdefghijklmnop`, sizeBytes: 1_048_576n },
    { blob: `ws_1/${artifactId}/ponmlkjihgfedcba9876543210`, sizeBytes: 524_288n },
  ],
  createBy: ada,
  runCreateBy: ada,
  requestDigest: digest,
});

/** What happens to artifacts, to those who want them, and to the keys of workspaces. */
export const artifactPayloads = {
  runArtifactAdded: create(RunArtifactAddedSchema, { artifactId, leaseId, artifact: created }),
  artifactCreated: created,
  artifactDeleted: create(ArtifactDeletedSchema, { reason: "the wrong timetable", purgeTime: time(7_200) }),
  artifactRestored: create(ArtifactRestoredSchema, { reason: "the right one after all", expireTime: time(3_600) }),
  artifactExpired: create(ArtifactExpiredSchema, { purgeTime: time(7_200) }),
  artifactPurged: create(ArtifactPurgedSchema, { reason: "asked for by ada" }),
  artifactHeld: create(ArtifactHeldSchema, { reason: "case 12" }),
  artifactHoldReleased: create(ArtifactHoldReleasedSchema, { reason: "case 12 is closed" }),
  artifactGranted: create(ArtifactGrantedSchema, {
    grantId,
    grantee: { who: { case: "principal", value: "role:auditor" } },
    expireTime: time(3_600),
  }),
  artifactGrantRevoked: create(ArtifactGrantRevokedSchema, { grantId }),
  artifactLinkCreated: create(ArtifactLinkCreatedSchema, { linkId, tokenDigest: digest, expireTime: time(3_600) }),
  artifactLinkRevoked: create(ArtifactLinkRevokedSchema, { linkId }),
  artifactAccessed: create(ArtifactAccessedSchema, {
    access: {
      artifactId,
      runId,
      method: AccessMethod.URL,
      outcome: AccessOutcome.REFUSED,
      principal: ada,
      grantee: "role:auditor",
      grantId,
      detail: "the grant has expired",
      offset: 65_536n,
      remoteAddress: "192.0.2.7",
      repeatedCount: 3n,
    },
  }),
  workspaceKeyRotated: create(WorkspaceKeyRotatedSchema, { keyId: "key_01K9ZZZZZZZZZZZZZZZZZZZZZZ" }),
  workspaceKeyDestroyed: create(WorkspaceKeyDestroyedSchema, {
    keyIds: ["key_01K9ZZZZZZZZZZZZZZZZZZZZZZ", "key_01K9YYYYYYYYYYYYYYYYYYYYYY"],
    reason: "the tenant has left",
  }),
};
