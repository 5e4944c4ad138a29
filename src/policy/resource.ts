import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Policy, PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";

/** The policy after an event of its stream: each put is a version of its own; undefined before the first. Pure. */
export function evolvePolicy(policy: Policy | undefined, event: Event): Policy | undefined {
  const { payload, workspaceId, actor, createTime, streamSequence, position } = event;
  if (payload.case !== "policyPut") return policy;
  return {
    ...(payload.value.policy ?? create(PolicySchema)),
    workspaceId,
    version: streamSequence,
    etag: String(streamSequence),
    position,
    ...(createTime === undefined ? {} : { updateTime: createTime }),
    ...(actor === undefined ? {} : { updateBy: actor }),
  };
}
