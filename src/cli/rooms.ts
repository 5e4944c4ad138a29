import { createAgents } from "../agents/agents.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import type { Positions } from "../readmodel/positions.ts";
import { createChanges } from "../rooms/changes.ts";
import { createCursors } from "../rooms/cursors.ts";
import { createMessages } from "../rooms/messages.ts";
import { createReactions, type Reactions } from "../rooms/reactions.ts";
import { createRooms } from "../rooms/rooms.ts";
import type { RoomParts } from "../rooms/service.ts";
import { createThreads } from "../rooms/threads.ts";
import { createStarts, idOfCreated } from "../runs/starts.ts";
import type { RunState } from "../runs/state.ts";
import type { Stores } from "./stores.ts";

/** What rooms are wired from. */
export interface RoomWiring extends Stores {
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
  readonly limits: Limits;
}

/** The rooms of a process, for callers and for the reactor alike; mentions create runs as anybody does. */
export function wireRooms(parts: RoomWiring): RoomParts & { readonly reactions: Reactions } {
  const { log, postgres, positions, aggregates, limits } = parts;
  const deps = { log, clock, ids, db: postgres.db, positions };
  const { find: findAgent } = createAgents(deps);
  const starts = createStarts({ aggregates, ids, limits, findAgent });
  const rooms = createRooms({ ...deps, findAgent });
  const threads = createThreads({ ...deps, rooms });
  const messages = createMessages({ ...deps, rooms, threads, runIdOf: idOfCreated });
  const runs = {
    create: starts.create,
    async find(workspaceId: string, runId: string) {
      const { state } = await aggregates.load(workspaceId, runId);
      return state.status === "absent" ? undefined : state.run;
    },
  };
  return {
    rooms,
    threads,
    messages,
    cursors: createCursors({ ...deps, rooms }),
    getChanges: createChanges({ postgres, positions, rooms }),
    reactions: createReactions({ rooms, messages, runs, findAgent }),
  };
}
