import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Condition } from "./ledger.ts";

/** Something that a command waits for and that needs no worker. */
export type WaitFor =
  /** `leftMs` is how long that is from now: it comes also when the run is kept from being suspended. */
  | { readonly time: Timestamp; readonly leftMs: number }
  /** Children of one group are waited for together: the run goes on when all of them have ended. */
  | { readonly childRunId: string; readonly group: object }
  | { readonly threadId: string }
  | { readonly approvalId: string };

/** What pending commands wait for. */
export interface Waits {
  /** How many commands wait. */
  count(): number;
  /** Resolves when it has come, or is worth a look. Rejects with the reason of `stop`. */
  until(sequence: number, what: WaitFor): Promise<void>;
  /** The waits as conditions of a suspension, and whom each of them holds up. */
  conditions(): readonly { readonly condition: Condition; readonly wake: () => void }[];
  /** Ends every wait with the reason, those that are begun later as well. */
  stop(reason: unknown): void;
}

interface Wait {
  readonly sequence: number;
  readonly what: WaitFor;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

// Node's timers end after 2^31 - 1 ms.
const maxTimerMs = 2 ** 31 - 1;
/** What the contract takes. */
const maxConditions = 1_000;

/** Starts without any. `messagesTaken` counts the messages of a thread that the run has taken already. */
export function createWaits(messagesTaken: (threadId: string) => number): Waits {
  const waits = new Set<Wait>();
  let stopped: { readonly reason: unknown } | undefined;

  function conditionOf(what: WaitFor, members: readonly Wait[]): Condition {
    if ("time" in what) return { condition: { case: "time", value: what.time } };
    if ("approvalId" in what) return { condition: { case: "approval", value: { approvalId: what.approvalId } } };
    if ("threadId" in what) {
      const { threadId } = what;
      return { condition: { case: "message", value: { threadId, afterNumber: messagesTaken(threadId) } } };
    }
    const runIds = new Set(members.map((wait) => ("childRunId" in wait.what ? wait.what.childRunId : "")));
    return { condition: { case: "children", value: { runIds: [...runIds] } } };
  }

  return {
    count: () => waits.size,
    async until(sequence, what) {
      if (stopped !== undefined) throw stopped.reason;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const wait = { sequence, what, resolve, reject };
      const leftMs = "time" in what ? what.leftMs : Number.POSITIVE_INFINITY;
      const timer = leftMs <= maxTimerMs ? setTimeout(resolve, leftMs) : undefined;
      waits.add(wait);
      try {
        await promise;
      } finally {
        waits.delete(wait);
        clearTimeout(timer);
      }
    },
    conditions() {
      const inOrder = [...waits].toSorted((a, b) => rank(a) - rank(b) || a.sequence - b.sequence);
      const groups = [...Map.groupBy(inOrder, ({ what }) => groupOf(what)).values()];
      // A run has at most 1,000 steps under way, but any number of tool calls that wait for approvals. Those beyond what the
      // contract takes are looked at when another one wakes the run.
      return groups.slice(0, maxConditions).flatMap((members) => {
        const [first] = members;
        if (first === undefined) return [];
        const wake = () => {
          for (const { resolve } of members) resolve();
        };
        return [{ condition: conditionOf(first.what, members), wake }];
      });
    },
    stop(reason) {
      stopped ??= { reason };
      for (const { reject } of waits) reject(stopped.reason);
    },
  };
}

function rank({ what }: Wait): number {
  return "approvalId" in what ? 1 : 0;
}

/** What waits of one condition have in common. */
function groupOf(what: WaitFor): unknown {
  if ("time" in what || "approvalId" in what) return what;
  return "threadId" in what ? `thread ${what.threadId}` : what.group;
}
