import { PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolvePolicy } from "./resource.ts";

/** The tables of this noun: one row for each version. */
export const policyProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "policy_versions",
    idColumn: "version",
    schema: PolicySchema,
    columns: [],
    idsOf: ({ payload, streamSequence }) => (payload.case === "policyPut" ? [String(streamSequence)] : []),
    evolve: evolvePolicy,
  }),
];
