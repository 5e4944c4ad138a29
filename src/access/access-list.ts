import type { ArtifactAccess } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { ListAccessRequest } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { listAccesses } from "./queries.ts";

/** The access log, to be read. */
export interface AccessList {
  /** A page of it, newest first. INVALID_REQUEST, READ_MODEL_BEHIND. */
  list(call: Call, request: ListAccessRequest): Promise<{ accesses: ArtifactAccess[]; nextPageToken: string }>;
}

/** What reading the access log needs. */
export interface AccessListDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
}

/** The access log of the read model. */
export function createAccessList({ db, positions }: AccessListDeps): AccessList {
  return {
    async list({ workspaceId, signal }, { artifactId, runId, outcomes, pageSize, pageToken, minPosition }) {
      const page = readPage("artifact_accesses", [workspaceId, artifactId, runId, outcomes], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const query = { workspaceId, artifactId, runId, outcomes, page };
      const { items, nextPageToken } = await listAccesses(db, query);
      return { accesses: items, nextPageToken };
    },
  };
}
