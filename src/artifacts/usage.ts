import { SignalboxError } from "../kernel/errors.ts";
import type { ArtifactLimits } from "./limits.ts";
import type { StoredTotal } from "./queries.ts";

/** How much a workspace keeps: what the table shows, and what this process has recorded since. */
export interface Usage {
  /** How many bytes the workspace may still store; negative when it keeps more than it may. */
  leftBytes(workspaceId: string): Promise<number>;
  /** Holds room for an artifact until it is recorded, or not. QUOTA_EXCEEDED when there is none. */
  reserve(workspaceId: string, sizeBytes: number): Promise<Reservation>;
}

/** Room for an artifact. Disposing it without `settle` gives the room back. */
export interface Reservation extends Disposable {
  /** The artifact is on record at this position. */
  settle(position: bigint): void;
}

/** What usage needs. */
export interface UsageDeps {
  /** What the table shows. */
  readonly total: (workspaceId: string) => Promise<Pick<StoredTotal, "sizeBytes" | "position">>;
  readonly limits: Pick<ArtifactLimits, "maxWorkspaceBytes">;
}

/** Artifacts on their way into the table. */
interface Held {
  readonly sizeBytes: number;
  /** Undefined until it is on record. */
  position: bigint | undefined;
}

/** The usage of workspaces. Exact for one server; several may together exceed a limit by what they record at the same moment. */
export function createUsage({ total, limits }: UsageDeps): Usage {
  const held = new Map<string, Set<Held>>();

  function leftOf(workspaceId: string, { sizeBytes, position }: Pick<StoredTotal, "sizeBytes" | "position">): number {
    const own = held.get(workspaceId) ?? new Set();
    let used = Number(sizeBytes);
    for (const each of own) {
      if (each.position !== undefined && each.position <= position) own.delete(each);
      else used += each.sizeBytes;
    }
    if (own.size === 0) held.delete(workspaceId);
    return limits.maxWorkspaceBytes - used;
  }

  return {
    leftBytes: async (workspaceId) => leftOf(workspaceId, await total(workspaceId)),
    async reserve(workspaceId, sizeBytes) {
      const stored = await total(workspaceId);
      // Nothing waits between the look and the hold: of two that fit only one by one, one gets the room.
      const leftNow = leftOf(workspaceId, stored);
      if (leftNow < sizeBytes) throw workspaceFull(limits.maxWorkspaceBytes, leftNow, sizeBytes);
      const own = held.get(workspaceId) ?? new Set();
      held.set(workspaceId, own);
      const mine: Held = { sizeBytes, position: undefined };
      own.add(mine);
      return {
        settle(position) {
          mine.position = position;
        },
        [Symbol.dispose]() {
          if (mine.position === undefined) own.delete(mine);
        },
      };
    },
  };
}

function workspaceFull(limit: number, left: number, size: number): SignalboxError {
  const message = `the workspace has ${Math.max(left, 0)} bytes left of ${limit}, the artifact has ${size}; delete something for ever first`;
  return new SignalboxError("QUOTA_EXCEEDED", message, { limit: String(limit), size: String(size) });
}
