import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CreateAgentRequestSchema, UpdateAgentRequestSchema } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Call } from "../../src/kernel/call.ts";

/** A call by a user of the workspace. */
export function callTo(workspaceId = "ws_one"): Call {
  return {
    workspaceId,
    principal: create(PrincipalSchema, { type: PrincipalType.USER, id: "user_1" }),
    correlationId: "corr_1",
    traceparent: "",
    signal: AbortSignal.timeout(10_000),
  };
}

/** A creating request; a name is all that it needs. */
export function creating(fields: MessageInitShape<typeof CreateAgentRequestSchema> = {}) {
  return create(CreateAgentRequestSchema, { name: "Researcher", ...fields });
}

/** An update of the fields that `paths` names. */
export function updating(
  paths: string[],
  agent: NonNullable<MessageInitShape<typeof UpdateAgentRequestSchema>["agent"]>,
) {
  return create(UpdateAgentRequestSchema, { agent, updateMask: { paths } });
}
