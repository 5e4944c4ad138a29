import { timestampDate } from "@bufbuild/protobuf/wkt";
import { ApprovalSchema } from "../../gen/signalbox/v1/approval_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { dueTimeOf, evolveApproval } from "./resource.ts";

/** The tables of this noun. */
export const approvalProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "approvals",
    idColumn: "approval_id",
    schema: ApprovalSchema,
    columns: [
      { name: "room_id", type: "text", value: ({ roomId }) => roomId },
      { name: "run_id", type: "text", value: ({ runId }) => runId },
      { name: "agent_id", type: "text", value: ({ agentId }) => agentId },
      { name: "status", type: "smallint", value: ({ status }) => status },
      { name: "risk", type: "smallint", value: ({ risk }) => risk },
      { name: "deciders", type: "jsonb", value: ({ deciders }) => JSON.stringify(deciders) },
      { name: "delegated_by", type: "jsonb", value: ({ delegatedBy }) => JSON.stringify(delegatedBy) },
      { name: "everybody", type: "boolean", value: ({ requiredApprovers }) => String(requiredApprovers.length === 0) },
      { name: "policy_hash", type: "text", value: ({ policyHash }) => policyHash },
      {
        name: "due_time",
        type: "timestamptz",
        value: (approval) => {
          const dueTime = dueTimeOf(approval);
          return dueTime ? timestampDate(dueTime) : null;
        },
      },
    ],
    idsOf: ({ stream }) => (stream?.type === "approval" ? [stream.id] : []),
    evolve: evolveApproval,
  }),
];
