import { SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import { type AnyProjection, eraseProjection } from "../readmodel/projection.ts";
import { evolveSuite } from "./resource.ts";

/** The tables of this noun: one row for each suite, and one for each version. Evaluations are runs. */
export const evalProjections: readonly AnyProjection[] = [
  eraseProjection({
    table: "suites",
    idColumn: "suite_id",
    schema: SuiteSchema,
    columns: [{ name: "status", type: "smallint", value: (suite) => suite.status }],
    idsOf: ({ stream }) => (stream?.type === "suite" ? [stream.id] : []),
    evolve: evolveSuite,
  }),
  eraseProjection({
    table: "suite_versions",
    idColumn: "suite_version",
    schema: SuiteSchema,
    columns: [{ name: "suite_id", type: "text", value: (suite) => suite.suiteId }],
    idsOf: ({ payload, stream }) =>
      payload.case === "suitePut" ? [versionId(stream?.id ?? "", payload.value.suite?.version ?? 0n)] : [],
    evolve: evolveSuite,
  }),
];

/** The row of a version. */
export function versionId(suiteId: string, version: bigint): string {
  return `${suiteId}/${version}`;
}
