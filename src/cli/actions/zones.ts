import { Zone } from "../../../gen/signalbox/v1/common_pb.ts";
import type { zones } from "../option-values.ts";

/** The zone of each name that people type. */
export const zoneOf = {
  sandbox: Zone.SANDBOX,
  supervised: Zone.SUPERVISED,
  high_stakes: Zone.HIGH_STAKES,
} as const satisfies Record<(typeof zones)[number], Zone>;
