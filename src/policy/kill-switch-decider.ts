import { create } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { KillSwitchFlippedSchema } from "../../gen/signalbox/v1/policy_event_pb.ts";
import type { KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { KillSwitchState } from "./kill-switch-state.ts";

/** What a switch is to be. */
export interface Setting {
  readonly scope: KillSwitchScope;
  readonly on: boolean;
  readonly reason: string;
}

/** kill_switch.flipped; nothing when the switch is so already, whatever the reason. INVALID_REQUEST when it is switched on without one. */
export function setKillSwitch({ killSwitch }: KillSwitchState, { scope, on, reason }: Setting): Draft | undefined {
  if (on && reason.trim() === "") {
    throw new SignalboxError("INVALID_REQUEST", "reason is empty: say why external writes are to stop", {
      field: "reason",
    });
  }
  if (killSwitch.on === on) return undefined;
  const value = create(KillSwitchFlippedSchema, { scope, on, reason });
  return { payload: { case: "killSwitchFlipped", value }, zone: Zone.HIGH_STAKES };
}
