import { SignalboxError } from "../kernel/errors.ts";
import { isOpen } from "./decider.ts";
import type { LiveRun, RunState } from "./state.ts";

/** How many runs may stand above one. */
const maxDepth = 32;

/** INVALID_STATE when the run that is to get a child has ended: nobody would hear of the child's end. */
export function requireOpenParent(parent: LiveRun & RunState): void {
  if (isOpen(parent)) return;
  throw new SignalboxError("INVALID_STATE", `run ${parent.run.runId} has ended and can have no more children`, {
    status: parent.status,
  });
}

/** QUOTA_EXCEEDED when more runs would stand above a run than may. */
export function requireDepth(depth: number): void {
  if (depth <= maxDepth) return;
  throw new SignalboxError(
    "QUOTA_EXCEEDED",
    `${maxDepth} runs stand above this one already; a run that starts itself over and over never ends`,
    { limit: String(maxDepth) },
  );
}
