import { type KillSwitch, KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import type { SetKillSwitchRequest } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { type AggregatesDeps, createAggregates } from "../eventlog/aggregates.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { Call } from "../kernel/call.ts";
import { shareReads } from "../kernel/shared-reads.ts";
import { requireNoAgent } from "./decider.ts";
import { setKillSwitch } from "./kill-switch-decider.ts";
import {
  installationWorkspaceId,
  killSwitchAggregate,
  killSwitchId,
  type KillSwitchState,
  shownKillSwitch,
} from "./kill-switch-state.ts";
import { createSeenSwitches } from "./seen-switches.ts";

/** The switches that hold for a workspace. */
export interface Switches {
  readonly workspace: KillSwitchState;
  readonly installation: KillSwitchState;
}

/** The kill switches of all workspaces, and the installation's. */
export interface KillSwitches {
  /** Flips a switch, or finds it so. INVALID_REQUEST, PERMISSION_DENIED for an agent that switches off. */
  set(call: Call, request: SetKillSwitchRequest): Promise<{ killSwitch: KillSwitch; position: bigint }>;
  /** As the log's leader has them. STORE_UNAVAILABLE. */
  confirmed(workspaceId: string): Promise<Switches>;
  /** As this process has seen them on its feed; the log is asked only the first time. STORE_UNAVAILABLE. */
  seen(workspaceId: string): Promise<Switches>;
}

/** What kill switches need. */
export interface KillSwitchesDeps extends AggregatesDeps {
  readonly feed: Feed;
}

/** The kill switches on a log. */
export function createKillSwitches({ feed, ...deps }: KillSwitchesDeps): KillSwitches {
  const aggregates = createAggregates(killSwitchAggregate, deps);
  // Every external write asks for them twice.
  const load = shareReads(async (workspaceId: string) => (await aggregates.load(workspaceId, killSwitchId)).state);
  const seenSwitches = createSeenSwitches(feed, load);

  return {
    confirmed: (workspaceId) => both(workspaceId, load),
    seen: (workspaceId) => both(workspaceId, (id) => seenSwitches.get(id)),
    async set(call, { scope: wanted, on, reason }) {
      if (!on) requireNoAgent(call.principal, "let external writes go on");
      const scope = wanted || KillSwitchScope.WORKSPACE;
      const workspaceId = scope === KillSwitchScope.INSTALLATION ? installationWorkspaceId : call.workspaceId;
      const { state, position } = await aggregates.execute({
        call: { ...call, workspaceId },
        id: killSwitchId,
        decide: (before) => setKillSwitch(before, { scope, on, reason }),
      });
      return { killSwitch: shownKillSwitch(state, scope), position };
    },
  };
}

async function both(workspaceId: string, read: (id: string) => Promise<KillSwitchState>): Promise<Switches> {
  const [workspace, installation] = await Promise.all([read(workspaceId), read(installationWorkspaceId)]);
  return { workspace, installation };
}
