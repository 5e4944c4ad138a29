import { durationMs } from "@bufbuild/protobuf/wkt";
import { AccessMethod, type DownloadLink } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { CreateDownloadUrlRequest, RevokeDownloadUrlRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Access } from "../access/access.ts";
import { linkTokenDigest, newLinkToken } from "../access/link-token.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import type { IdSource } from "../kernel/ids.ts";
import { artifactNotFound } from "./decider.ts";
import { grantNotFound } from "./grant-decider.ts";
import { createLink, revokeLink } from "./link-decider.ts";
import type { ArtifactState, KnownArtifact } from "./state.ts";

/** A link after a command, and where the log stood then. */
export interface LinkAnswer {
  readonly link: DownloadLink;
  readonly position: bigint;
}

/** Links to artifacts, for whoever has them. */
export interface Links {
  /** ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED, INVALID_STATE, QUOTA_EXCEEDED, RATE_LIMITED. */
  create(call: Call, request: CreateDownloadUrlRequest): Promise<LinkAnswer & { readonly url: string }>;
  /** ARTIFACT_NOT_FOUND, GRANT_NOT_FOUND, PERMISSION_DENIED. */
  revoke(call: Call, request: RevokeDownloadUrlRequest): Promise<LinkAnswer>;
}

/** What links need. */
export interface LinksDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly access: Access<KnownArtifact>;
  readonly ids: IdSource;
}

const defaultExpiresInMs = 60 * 60_000;

/** Links on artifacts as aggregates. */
export function createLinks({ aggregates, access, ids }: LinksDeps): Links {
  return {
    async create(call, { artifactId, expiresIn }) {
      await access.require(call, { artifactId, method: AccessMethod.LINK });
      const token = newLinkToken();
      const wanted = {
        artifactId,
        linkId: ids.next("link"),
        tokenDigest: linkTokenDigest(token),
        expiresInMs: expiresIn === undefined ? defaultExpiresInMs : durationMs(expiresIn),
      };
      const loaded = await aggregates.execute({
        call,
        id: artifactId,
        decide: (before, now) => createLink(before, wanted, now),
      });
      return { url: `${call.serverUrl ?? ""}/artifacts/${token}`, ...answer(loaded, artifactId, wanted.linkId) };
    },
    async revoke(call, request) {
      const { artifactId, linkId } = request;
      const loaded = await aggregates.execute({
        call,
        id: artifactId,
        decide: (before) => revokeLink(before, request, call.principal),
      });
      return answer(loaded, artifactId, linkId);
    },
  };
}

function answer(
  { state, position }: { readonly state: ArtifactState; readonly position: bigint },
  artifactId: string,
  id: string,
): LinkAnswer {
  if (state.status === "absent") throw artifactNotFound(artifactId);
  const link = state.links.find((each) => each.link.linkId === id)?.link;
  if (link === undefined) throw grantNotFound("link", id, artifactId);
  return { link, position };
}
