import { create } from "@bufbuild/protobuf";
import { ArtifactAccessedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { ArtifactAccess } from "../../gen/signalbox/v1/artifact_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { derivedId } from "../kernel/ids.ts";
import { accessLogAggregate } from "./state.ts";

/** Who wanted which artifact's bytes, in the log. */
export interface AccessLog {
  /** Appends a line; when it resolves, the line stays. CONTENTION, STORE_UNAVAILABLE. */
  append(call: Omit<Call, "signal">, access: ArtifactAccess): Promise<void>;
}

/** The access log on a log. */
export function createAccessLog(deps: AggregatesDeps): AccessLog {
  const aggregates = createAggregates(accessLogAggregate, deps);
  return {
    async append(call, access) {
      // One stream a day: none grows for ever.
      const day = deps.clock.now().toISOString().slice(0, 10);
      const id = derivedId("acc", call.workspaceId, access.artifactId, day);
      const value = create(ArtifactAccessedSchema, { access });
      const draft = { payload: { case: "artifactAccessed", value }, zone: Zone.SANDBOX } as const;
      await aggregates.execute({ call, id, creation: { roomId: "", repeatable: false }, decide: () => draft });
    },
  };
}
