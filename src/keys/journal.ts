import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { type AggregatesDeps, createAggregates, type Draft } from "../eventlog/aggregates.ts";
import { signalbox } from "../kernel/principal.ts";
import { destroyKeys, rotateKey } from "./decider.ts";
import { workspaceKeyAggregate, type WorkspaceKeyState } from "./state.ts";

/** Puts on record what happens to the keys of workspaces; the keys themselves never. Twice is fine. STORE_UNAVAILABLE. */
export interface KeyJournal {
  /** A workspace's current key. */
  rotated(workspaceId: string, keyId: string): Promise<void>;
  /** Keys that are about to be destroyed. */
  destroyed(workspaceId: string, keyIds: readonly string[], order: { reason: string; by: Principal }): Promise<void>;
}

/** The journal on the log. */
export function createKeyJournal(deps: AggregatesDeps): KeyJournal {
  const aggregates = createAggregates(workspaceKeyAggregate, deps);

  async function record(
    workspaceId: string,
    principal: Principal,
    decide: (state: WorkspaceKeyState) => Draft | undefined,
  ): Promise<void> {
    const call = { workspaceId, principal, correlationId: deps.ids.next("corr"), traceparent: "" };
    await aggregates.execute({ call, id: workspaceId, decide });
  }

  return {
    rotated: (workspaceId, keyId) => record(workspaceId, signalbox, (state) => rotateKey(state, keyId)),
    destroyed: (workspaceId, keyIds, { reason, by }) =>
      record(workspaceId, by, (state) => destroyKeys(state, keyIds, reason)),
  };
}
