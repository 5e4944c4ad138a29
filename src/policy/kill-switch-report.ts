import { KillSwitchScope, type StoppedWrite } from "../../gen/signalbox/v1/policy_pb.ts";
import type { GetKillSwitchRequest, GetKillSwitchResponseSchema } from "../../gen/signalbox/v1/policy_service_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EventLog } from "../eventlog/event-log.ts";
import type { Call } from "../kernel/call.ts";
import { type Page, readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import { externalWritesOf } from "./gate.ts";
import { type KillSwitchState, shownKillSwitch } from "./kill-switch-state.ts";
import type { KillSwitches } from "./kill-switches.ts";

/** A page of what a flip has met. */
export interface StoppedWrites {
  readonly stopped: StoppedWrite[];
  readonly nextPageToken: string;
  /** On all pages. */
  readonly stoppedCount: bigint;
}

/** What the report of a kill switch needs. */
export interface KillSwitchReportDeps {
  readonly switches: Pick<KillSwitches, "confirmed">;
  readonly log: Pick<EventLog, "bounds">;
  readonly positions: Pick<Positions, "reach">;
  /** A workspace's external writes that a switch flipped at `flip` has held back, and those that had started before it and not ended. */
  readonly listStopped: (workspaceId: string, flip: bigint, page: Page) => Promise<StoppedWrites>;
}

/** The switches, and what the one that was switched on last has met. READ_MODEL_BEHIND. */
export type KillSwitchReport = (
  call: Call,
  request: GetKillSwitchRequest,
) => Promise<MessageInitShape<typeof GetKillSwitchResponseSchema>>;

/** The report on kill switches. */
export function createKillSwitchReport({
  switches,
  log,
  positions,
  listStopped,
}: KillSwitchReportDeps): KillSwitchReport {
  return async ({ workspaceId, signal }, { pageSize, pageToken, minPosition }) => {
    const [{ workspace, installation }, { head }] = await Promise.all([switches.confirmed(workspaceId), log.bounds()]);
    const { stopped, epoch } = externalWritesOf({ workspace, installation });
    const flip = reportedFlip([workspace, installation]);
    const page = readPage("stopped_writes", [workspaceId, flip], pageSize, pageToken);
    // Whatever was held back by now belongs in the report.
    await positions.reach(flip > 0n && head > minPosition ? head : minPosition, signal);
    const met = flip > 0n ? await listStopped(workspaceId, flip, page) : undefined;
    return {
      workspace: shownKillSwitch(workspace, KillSwitchScope.WORKSPACE),
      installation: shownKillSwitch(installation, KillSwitchScope.INSTALLATION),
      externalWritesStopped: stopped,
      killEpoch: epoch,
      ...met,
    };
  };
}

/** The flip that stopped what is stopped now; when nothing is, the last one that stopped anything. 0 for none. */
function reportedFlip(all: readonly KillSwitchState[]): bigint {
  const on = all.filter(({ killSwitch }) => killSwitch.on);
  const positions = (on.length > 0 ? on : all).map(({ onPosition }) => onPosition).filter((position) => position > 0n);
  const ascending = positions.toSorted((a, b) => (a < b ? -1 : 1));
  return (on.length > 0 ? ascending[0] : ascending.at(-1)) ?? 0n;
}
