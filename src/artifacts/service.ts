import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import {
  ArtifactService,
  type AnswerAccessChallengeRequest,
  type AnswerAccessChallengeResponse,
  type CreateAccessChallengeRequest,
  type CreateAccessChallengeResponse,
  type DownloadBundleRequest,
  type ListAccessRequest,
  type ListAccessResponse,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { type Call, callOf } from "../kernel/call.ts";
import type { Artifacts } from "./artifacts.ts";
import type { Download } from "./downloads.ts";
import type { Grants } from "./grant-commands.ts";
import type { Links } from "./link-commands.ts";
import { uploadFrames } from "./upload-frames.ts";
import type { Uploads } from "./uploads.ts";

type Fields<Message> = Omit<Message, "$typeName" | "$unknown">;

/** What ArtifactService serves. */
export interface ArtifactParts {
  readonly artifacts: Artifacts;
  readonly uploads: Uploads;
  readonly download: Download;
  readonly grants: Grants;
  readonly links: Links;
  /** Proof by signature. */
  readonly challenges: {
    create(call: Call, request: CreateAccessChallengeRequest): Promise<Fields<CreateAccessChallengeResponse>>;
    answer(call: Call, request: AnswerAccessChallengeRequest): Promise<Fields<AnswerAccessChallengeResponse>>;
  };
  readonly accessList: { list(call: Call, request: ListAccessRequest): Promise<Fields<ListAccessResponse>> };
  readonly bundles: {
    download(call: Call, request: DownloadBundleRequest, remoteAddress?: string): AsyncIterable<{ data: Uint8Array }>;
  };
}

// Files are mostly packed already. Every client of Connect asks for gzip by itself: a download of 100 MiB of noise then takes 8.5 s of
// the server's CPU instead of 2.7.
const neverCompressed = { compressMinBytes: Number.MAX_SAFE_INTEGER };

/** Serves ArtifactService. */
export function artifactRoutes(router: ConnectRouter, parts: ArtifactParts): void {
  const { artifacts, uploads, download, grants, links, challenges, accessList, bundles } = parts;
  const service: ServiceImpl<typeof ArtifactService> = {
    createArtifact: (request, context) => uploads.create(callOf(context), request),
    uploadArtifact: async (requests, context) => {
      const { header, bytes } = await uploadFrames(requests);
      return uploads.upload(callOf(context), header, bytes);
    },
    createUpload: async (request, context) => ({ upload: await uploads.begin(callOf(context), request) }),
    uploadChunk: async (request, context) => {
      await uploads.chunk(callOf(context), request);
      return {};
    },
    getUpload: async (request, context) => ({ upload: await uploads.get(callOf(context), request.uploadId) }),
    finishUpload: (request, context) => uploads.finish(callOf(context), request),
    getArtifact: async (request, context) => ({ artifact: await artifacts.get(callOf(context), request.artifactId) }),
    listArtifacts: (request, context) => artifacts.list(callOf(context), request),
    downloadArtifact: (request, context) => {
      const call = callOf(context);
      return download(call, request, call.remoteAddress);
    },
    deleteArtifact: (request, context) => artifacts.delete(callOf(context), request),
    restoreArtifact: (request, context) => artifacts.restore(callOf(context), request),
    setLegalHold: (request, context) => artifacts.setLegalHold(callOf(context), request),
    grantAccess: (request, context) => grants.grant(callOf(context), request),
    revokeAccess: (request, context) => grants.revoke(callOf(context), request),
    listGrants: (request, context) => grants.list(callOf(context), request.artifactId),
    createAccessChallenge: (request, context) => challenges.create(callOf(context), request),
    answerAccessChallenge: (request, context) => challenges.answer(callOf(context), request),
    createDownloadUrl: (request, context) => links.create(callOf(context), request),
    revokeDownloadUrl: (request, context) => links.revoke(callOf(context), request),
    listAccess: (request, context) => accessList.list(callOf(context), request),
    downloadBundle: (request, context) => {
      const call = callOf(context);
      return bundles.download(call, request, call.remoteAddress);
    },
    getStorageUsage: (request, context) => artifacts.usage(callOf(context), request),
  };
  router.service(ArtifactService, service, neverCompressed);
}
