import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type ArtifactGrant, ArtifactGrantSchema, DownloadLinkSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { holds } from "../access/rights.ts";
import { withRoom } from "./grant-room.ts";
import type { RecordedLink } from "./state.ts";

/** The grants of an artifact after one more event of its stream. Pure. */
export function evolveGrants(grants: readonly ArtifactGrant[], event: Event): readonly ArtifactGrant[] {
  const { payload, createTime, actor } = event;
  if (payload.case === "artifactGranted") {
    const { grantId, grantee, expireTime } = payload.value;
    const kept = withRoom(grants, (grant) => holds(grant, at(event)));
    return [...kept, create(ArtifactGrantSchema, { grantId, grantee, expireTime, createTime, createBy: actor })];
  }
  if (payload.case !== "artifactGrantRevoked") return grants;
  const { grantId } = payload.value;
  return grants.map((grant) =>
    grant.grantId === grantId ? { ...grant, revokeTime: createTime, revokeBy: actor } : grant,
  );
}

/** The links of an artifact after one more event of its stream. Pure. */
export function evolveLinks(links: readonly RecordedLink[], event: Event): readonly RecordedLink[] {
  const { payload, createTime, actor, stream } = event;
  if (payload.case === "artifactLinkCreated") {
    const { linkId, tokenDigest, expireTime } = payload.value;
    const artifactId = stream?.id ?? "";
    const link = create(DownloadLinkSchema, { linkId, artifactId, expireTime, createTime, createBy: actor });
    const kept = withRoom(links, (each) => holds(each.link, at(event)));
    // A copy: decoded bytes are a part of the event's, all of which they would keep in memory.
    return [...kept, { link, tokenDigest: tokenDigest.slice() }];
  }
  if (payload.case !== "artifactLinkRevoked") return links;
  const { linkId } = payload.value;
  return links.map((each) =>
    each.link.linkId === linkId ? { ...each, link: { ...each.link, revokeTime: createTime, revokeBy: actor } } : each,
  );
}

function at({ createTime }: Event): Date {
  return createTime === undefined ? new Date(0) : timestampDate(createTime);
}
