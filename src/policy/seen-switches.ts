import type { Feed, Subscription } from "../eventlog/feed.ts";
import { evolveKillSwitch, killSwitchId, type KillSwitchState } from "./kill-switch-state.ts";

/** Kill switches as this process has seen them. */
export interface SeenSwitches {
  /** The switch of a workspace. Whatever `load` throws, the first time. */
  get(workspaceId: string): Promise<KillSwitchState>;
}

interface Seen {
  readonly subscription: Subscription;
  /** The newest state that was asked for; the next one follows on it. */
  state: Promise<KillSwitchState>;
}

/** Workspaces that are followed at the same time. */
const followed = 10_000;

/** Loads each switch once and follows it from then on, without a loop: what the feed has brought is taken when asked for. */
export function createSeenSwitches(feed: Feed, load: (workspaceId: string) => Promise<KillSwitchState>): SeenSwitches {
  // A Map iterates in order of insertion: the first is the one that was asked for longest ago.
  const all = new Map<string, Seen>();

  function follow(workspaceId: string): Seen {
    const stream = { type: "kill_switch", id: killSwitchId };
    // From before the load: what comes meanwhile is in one of them, or in both.
    const subscription = feed.subscribe({ workspaceId, stream }, feed.position);
    return { subscription, state: load(workspaceId) };
  }

  function forget(workspaceId: string): void {
    all.get(workspaceId)?.subscription[Symbol.dispose]();
    all.delete(workspaceId);
  }

  return {
    async get(workspaceId) {
      const seen = all.get(workspaceId) ?? follow(workspaceId);
      all.delete(workspaceId);
      all.set(workspaceId, seen);
      const [longestAgo] = all.keys();
      if (all.size > followed && longestAgo !== undefined) forget(longestAgo);
      // One after the other: a subscription answers one call at a time.
      const state = seen.state.then((before) => advance(before, seen.subscription));
      seen.state = state;
      try {
        return await state;
      } catch (error) {
        if (all.get(workspaceId) === seen) forget(workspaceId);
        throw error;
      }
    },
  };
}

async function advance(state: KillSwitchState, subscription: Subscription): Promise<KillSwitchState> {
  let after = state;
  for (const { event, position } of await subscription.next(0)) {
    if (position > after.killSwitch.position) after = evolveKillSwitch(after, event);
  }
  return after;
}
