import { create } from "@bufbuild/protobuf";
import { type ArtifactAccess, type DownloadLink, DownloadLinkSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** The line of the access log that an event is; undefined for any other event. Pure. */
export function evolveAccess(access: ArtifactAccess | undefined, event: Event): ArtifactAccess | undefined {
  const { payload, eventId: accessId, createTime, position } = event;
  if (payload.case !== "artifactAccessed" || payload.value.access === undefined) return access;
  return { ...payload.value.access, accessId, createTime, position };
}

/** A link as it was made: whether it was revoked since is for the artifact's stream to say. Pure. */
export function evolveLink(link: DownloadLink | undefined, event: Event): DownloadLink | undefined {
  const { payload, stream, createTime, actor } = event;
  if (payload.case !== "artifactLinkCreated") return link;
  const { linkId, expireTime } = payload.value;
  return create(DownloadLinkSchema, {
    linkId,
    artifactId: stream?.id ?? "",
    expireTime,
    createTime,
    createBy: actor,
  });
}

/** A token's digest as the table of links has it: in hex. Pure. */
export function digestText(tokenDigest: Uint8Array): string {
  return Buffer.from(tokenDigest).toString("hex");
}
