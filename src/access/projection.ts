import { ArtifactAccessSchema, DownloadLinkSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { digestText, evolveAccess, evolveLink } from "./resource.ts";

/** The tables of this noun. */
export const accessProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "artifact_accesses",
    idColumn: "access_id",
    schema: ArtifactAccessSchema,
    columns: [
      { name: "artifact_id", type: "text", value: (access) => access.artifactId },
      { name: "run_id", type: "text", value: (access) => access.runId },
      { name: "outcome", type: "smallint", value: (access) => access.outcome },
    ],
    idsOf: ({ payload, eventId }) => (payload.case === "artifactAccessed" ? [eventId] : []),
    evolve: evolveAccess,
  }),
  eraseProjection({
    table: "artifact_links",
    idColumn: "token_digest",
    schema: DownloadLinkSchema,
    columns: [{ name: "artifact_id", type: "text", value: (link) => link.artifactId }],
    idsOf: ({ payload }) => (payload.case === "artifactLinkCreated" ? [digestText(payload.value.tokenDigest)] : []),
    evolve: evolveLink,
  }),
];
