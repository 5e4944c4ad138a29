import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { AggregateDefinition } from "../eventlog/aggregates.ts";

/** What is on record of a workspace's keys. */
export interface WorkspaceKeyState {
  /** The key that came last; empty for none. */
  readonly keyId: string;
  /** Every key that was destroyed. */
  readonly destroyed: ReadonlySet<string>;
}

/** The keys of workspaces as aggregates; the id is the workspace's. */
export const workspaceKeyAggregate: AggregateDefinition<WorkspaceKeyState> = {
  type: "workspace_key",
  initial: { keyId: "", destroyed: new Set() },
  evolve: evolveWorkspaceKey,
};

/** The state after one more event. Pure. */
export function evolveWorkspaceKey(state: WorkspaceKeyState, { payload }: Event): WorkspaceKeyState {
  if (payload.case === "workspaceKeyRotated") return { ...state, keyId: payload.value.keyId };
  if (payload.case !== "workspaceKeyDestroyed") return state;
  return { ...state, destroyed: state.destroyed.union(new Set(payload.value.keyIds)) };
}
