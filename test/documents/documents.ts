import { create } from "@bufbuild/protobuf";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Call } from "../../src/kernel/call.ts";

/** A call by a user of the workspace. */
export function callTo(workspaceId = "ws_one"): Call {
  return {
    workspaceId,
    principal: create(PrincipalSchema, { type: PrincipalType.USER, id: "user_1" }),
    correlationId: "corr_1",
    traceparent: "",
    signal: AbortSignal.timeout(20_000),
  };
}
