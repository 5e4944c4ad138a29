import { create } from "@bufbuild/protobuf";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type KillSwitch, KillSwitchSchema, type KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";

/** The id of a kill switch: a workspace has one. */
export const killSwitchId = "kill_main";
/** Where the installation's switch is recorded; no call can name it. */
export const installationWorkspaceId = "ws_installation";

/** One turn of a switch. */
export interface Flip {
  readonly position: bigint;
  readonly on: boolean;
}

/** What decisions about a kill switch rest on. */
export interface KillSwitchState {
  /** As it is now; position 0 when it was never flipped. */
  readonly killSwitch: KillSwitch;
  /** The newest flips, oldest first. */
  readonly flips: readonly Flip[];
  /** The newest flip that switched it on; 0 for none. */
  readonly onPosition: bigint;
}

/** Flips that are remembered one by one. Before them a switch counts as on. */
const rememberedFlips = 100;

/** Kill switches as aggregates. */
export const killSwitchAggregate: AggregateDefinition<KillSwitchState> = {
  type: "kill_switch",
  initial: { killSwitch: create(KillSwitchSchema), flips: [], onPosition: 0n },
  evolve: evolveKillSwitch,
  heldBytes: (_event, sizeBytes) => Math.min(sizeBytes, 1024),
};

/** The state after one more event. Pure. */
export function evolveKillSwitch(state: KillSwitchState, event: Event): KillSwitchState {
  const { payload, createTime, actor, position } = event;
  if (payload.case !== "killSwitchFlipped") return state;
  const { scope, on, reason } = payload.value;
  const killSwitch = create(KillSwitchSchema, {
    scope,
    on,
    reason,
    position,
    ...(createTime === undefined ? {} : { flipTime: createTime }),
    ...(actor === undefined ? {} : { flipBy: actor }),
  });
  return {
    killSwitch,
    flips: [...state.flips, { position, on }].slice(-rememberedFlips),
    onPosition: on ? position : state.onPosition,
  };
}

/** Whether the switch was on at a place in the log. What is not remembered any more counts as on. Pure. */
export function wasOn({ flips }: KillSwitchState, position: bigint): boolean {
  const before = flips.findLast((flip) => flip.position <= position);
  return before?.on ?? flips.length === rememberedFlips;
}

/** The switch as clients see it, its scope set even when it was never flipped. */
export function shownKillSwitch({ killSwitch }: KillSwitchState, scope: KillSwitchScope): KillSwitch {
  return { ...killSwitch, scope };
}
