import type { PolicyContext, PolicyDecision } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { correctAction } from "./action-registry.ts";
import { evaluatePolicy } from "./evaluation.ts";
import { wasOn } from "./kill-switch-state.ts";
import type { KillSwitches, Switches } from "./kill-switches.ts";
import type { PolicyBook } from "./policy-book.ts";

/** Whether external writes of a workspace are stopped. */
export interface ExternalWrites {
  readonly stopped: boolean;
  /** Position of the newest flip of a switch that holds for the workspace; 0 for none. */
  readonly epoch: bigint;
  /** Whether they were stopped at a place in the log, the newest flips included. */
  stoppedAt(position: bigint): boolean;
}

/** What says whether a run may act: what runs/gate.ts asks for. */
export interface PolicyGate {
  /** What the policy in force says, kill switches included, on confirmed state. STORE_UNAVAILABLE. */
  judge(workspaceId: string, context: PolicyContext): Promise<PolicyDecision>;
  /** The switches as the log's leader has them. STORE_UNAVAILABLE. */
  externalWrites(workspaceId: string): Promise<ExternalWrites>;
  /** The switches as this process has seen them. STORE_UNAVAILABLE. */
  seenExternalWrites(workspaceId: string): Promise<ExternalWrites>;
}

/** The gate on policies and kill switches. */
export function createGate(
  book: Pick<PolicyBook, "inForce">,
  switches: Pick<KillSwitches, "confirmed" | "seen">,
): PolicyGate {
  async function externalWrites(workspaceId: string): Promise<ExternalWrites> {
    return externalWritesOf(await switches.confirmed(workspaceId));
  }

  return {
    externalWrites,
    async seenExternalWrites(workspaceId) {
      return externalWritesOf(await switches.seen(workspaceId));
    },
    async judge(workspaceId, context) {
      const { action, externalWritesStopped } = context;
      // The switches matter to external writes only. What claims to be one is known beforehand, so both are asked at once.
      const claimsExternal = action?.effect === ToolEffect.EXTERNAL_WRITE;
      const [policy, early] = await Promise.all([
        book.inForce(workspaceId),
        claimsExternal ? externalWrites(workspaceId) : undefined,
      ]);
      const corrected = action && correctAction(action, policy.registry.find(action.type));
      const isExternal = corrected?.effect === ToolEffect.EXTERNAL_WRITE;
      const writes = early ?? (isExternal ? await externalWrites(workspaceId) : undefined);
      const stopped = externalWritesStopped || writes?.stopped === true;
      return evaluatePolicy(policy, { ...context, externalWritesStopped: stopped }, writes?.epoch ?? 0n);
    },
  };
}

/** Both switches as one. */
export function externalWritesOf({ workspace, installation }: Switches): ExternalWrites {
  const all = [workspace, installation];
  const [one, other] = [workspace.killSwitch.position, installation.killSwitch.position];
  return {
    stopped: all.some(({ killSwitch }) => killSwitch.on),
    epoch: one > other ? one : other,
    stoppedAt: (position) => all.some((state) => wasOn(state, position)),
  };
}
