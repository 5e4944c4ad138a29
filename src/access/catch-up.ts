import type { EventLog } from "../eventlog/event-log.ts";
import { hasReason } from "../kernel/errors.ts";
import type { Positions } from "../readmodel/positions.ts";

/** How long a visitor with a link that nobody knows waits for the tables. */
const waitMs = 2_000;

/** What catching up needs. */
export interface CatchUpDeps {
  readonly log: Pick<EventLog, "bounds">;
  readonly positions: Pick<Positions, "reach">;
}

/**
 * Resolves when the tables have everything that is in the log, whichever server has put it there, or after 2 seconds: a link that is not
 * in the tables by then is answered as one that nobody made. STORE_UNAVAILABLE.
 */
export async function catchUpWithLog({ log, positions }: CatchUpDeps): Promise<void> {
  const { head } = await log.bounds();
  try {
    await positions.reach(head, AbortSignal.timeout(waitMs));
  } catch (error) {
    if (!hasReason(error, "READ_MODEL_BEHIND")) throw error;
  }
}
