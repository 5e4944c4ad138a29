import type { ArtifactGrant, DownloadLink } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { GrantAccessRequest, RevokeAccessRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { requireGrantee } from "../access/grantee.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { artifactNotFound } from "./decider.ts";
import { grantAccess, grantNotFound, revokeAccess, sameGrant } from "./grant-decider.ts";
import type { ArtifactState } from "./state.ts";

/** A grant after a command, and where the log stood then. */
export interface GrantAnswer {
  readonly grant: ArtifactGrant;
  readonly position: bigint;
}

/** Who else may read artifacts. */
export interface Grants {
  /** ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED, INVALID_REQUEST, QUOTA_EXCEEDED. */
  grant(call: Call, request: GrantAccessRequest): Promise<GrantAnswer>;
  /** ARTIFACT_NOT_FOUND, GRANT_NOT_FOUND, PERMISSION_DENIED. */
  revoke(call: Call, request: RevokeAccessRequest): Promise<GrantAnswer>;
  /** All grants and links of an artifact, oldest first. ARTIFACT_NOT_FOUND. */
  list(call: Call, artifactId: string): Promise<{ grants: ArtifactGrant[]; links: DownloadLink[] }>;
}

/** What grants need. */
export interface GrantsDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly ids: IdSource;
  readonly clock: Clock;
}

/** Grants on artifacts as aggregates. */
export function createGrants({ aggregates, ids, clock }: GrantsDeps): Grants {
  return {
    async grant(call, { artifactId, grantee: given, expireTime }) {
      const grantee = requireGrantee(given);
      const wanted = { artifactId, grantId: ids.next("grant"), grantee, expireTime };
      const { state, position, recorded } = await aggregates.execute({
        call,
        id: artifactId,
        decide: (before, now) => grantAccess(before, wanted, call.principal, now),
      });
      if (state.status === "absent") throw artifactNotFound(artifactId);
      const grant =
        recorded === undefined
          ? sameGrant(state, wanted, clock.now())
          : state.grants.find(({ grantId }) => grantId === wanted.grantId);
      if (grant === undefined) throw grantNotFound("grant", wanted.grantId, artifactId);
      return { grant, position };
    },
    async revoke(call, request) {
      const { artifactId, grantId } = request;
      const { state, position } = await aggregates.execute({
        call,
        id: artifactId,
        decide: (before) => revokeAccess(before, request, call.principal),
      });
      if (state.status === "absent") throw artifactNotFound(artifactId);
      const grant = state.grants.find((each) => each.grantId === grantId);
      if (grant === undefined) throw grantNotFound("grant", grantId, artifactId);
      return { grant, position };
    },
    async list({ workspaceId }, artifactId) {
      const { state } = await aggregates.load(workspaceId, artifactId);
      if (state.status === "absent") throw artifactNotFound(artifactId);
      return { grants: [...state.grants], links: state.links.map(({ link }) => link) };
    },
  };
}
