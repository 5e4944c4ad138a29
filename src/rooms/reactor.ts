import type { Logger } from "pino";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { EventRecord } from "../eventlog/record.ts";
import { type Bell, createBell } from "../kernel/wait.ts";
import { lead } from "../readmodel/leader.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Postgres } from "../readmodel/postgres.ts";
import { type Awaiting, type Stretch, unansweredEnds, unansweredMentions } from "./reaction-queries.ts";
import type { Reactions } from "./reactions.ts";

/** What reacting needs. */
export interface RoomReactorOptions {
  readonly postgres: Postgres;
  readonly schema: string;
  readonly feed: Feed;
  readonly positions: Pick<Positions, "reach">;
  readonly reactions: Reactions;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** How many wait for a reaction at most when the tables are asked once; they are dealt with side by side. */
const pageSize = 32;
/** How much of the log one question is about: after a takeover the whole of it is looked through, piece by piece. */
const stretchLength = 1_000_000n;
/** The tables are asked this often without any reason, for what nobody rang for. */
const sweepMs = 5_000;
/** The pause after something went wrong. */
const retryMs = 1_000;
/** How long one wait for new records lasts. */
const listenMs = 60_000;

/**
 * Calls the agents that messages mention, and posts what runs answer, until the signal aborts; of several processes one
 * works, the others stand by. What there is to do is always found in the tables, so that nothing depends on who was
 * listening when; events only say when to look.
 */
export function runRoomReactor(options: RoomReactorOptions): Promise<void> {
  const { postgres, schema, log, signal } = options;
  return lead({
    postgres,
    role: "rooms",
    schema,
    log,
    signal,
    play: async (_client, playing) => {
      const stop = new AbortController();
      const until = AbortSignal.any([playing, stop.signal]);
      const bell = createBell();
      const both = [listen(options, bell, until), keepUp(options, bell, until)];
      // When one ends, for whatever reason, the other has to as well.
      await Promise.race(both).finally(() => stop.abort());
      await Promise.all(both);
    },
  });
}

async function listen({ feed }: RoomReactorOptions, bell: Bell, signal: AbortSignal): Promise<void> {
  using subscription = feed.subscribe("all", feed.position);
  while (!signal.aborted) {
    const records = await subscription.next(listenMs, signal);
    if (records.some(isReason)) bell.ring();
  }
}

/** Whether there may be something to do. Runs outside of rooms rarely answer a message: they wait for the next sweep. */
function isReason({ event }: EventRecord): boolean {
  const { payload, type, roomId } = event;
  if (payload.case === "messagePosted") return payload.value.mentions.some(({ runId }) => runId !== "");
  return roomId !== "" && terminalRunTypes.has(type);
}

/** One kind of reaction: how to find what waits for it, and how to do it. Everything up to `done` was dealt with. */
interface Duty {
  readonly find: (stretch: Stretch) => Promise<Awaiting[]>;
  readonly react: (awaiting: Awaiting) => Promise<void>;
  done: bigint;
}

async function keepUp(options: RoomReactorOptions, bell: Bell, signal: AbortSignal): Promise<void> {
  const { postgres, reactions, log } = options;
  const { db } = postgres;
  const duties: Duty[] = [
    {
      find: (stretch) => unansweredMentions(db, stretch, pageSize),
      react: ({ workspaceId, id }) => reactions.callAgents(workspaceId, id, signal),
      done: 0n,
    },
    {
      find: (stretch) => unansweredEnds(db, stretch, pageSize),
      react: ({ workspaceId, id }) => reactions.answer(workspaceId, id),
      done: 0n,
    },
  ];
  while (!signal.aborted) {
    let waitMs = retryMs;
    try {
      const position = options.feed.position;
      await options.positions.reach(position, signal);
      const done = await Promise.all(duties.map((duty) => perform(duty, position, options)));
      if (done.every(Boolean)) waitMs = sweepMs;
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "mentions and answers not looked up, repeating");
    }
    await bell.wait(signal, waitMs);
  }
}

/** Does what waits up to the position. False when something did not work out and has to be tried again. */
async function perform(duty: Duty, position: bigint, options: RoomReactorOptions): Promise<boolean> {
  while (duty.done < position && !options.signal.aborted) {
    const upTo = duty.done + stretchLength < position ? duty.done + stretchLength : position;
    const found = await duty.find({ after: duty.done, upTo });
    const done = await Promise.all(found.map((awaiting) => attempt(duty, awaiting, options)));
    // What did not fail is not found again.
    if (done.includes(false)) return false;
    duty.done = found.length < pageSize ? upTo : (found.at(-1)?.position ?? upTo);
  }
  return true;
}

async function attempt({ react }: Duty, awaiting: Awaiting, { log, signal }: RoomReactorOptions): Promise<boolean> {
  try {
    await react(awaiting);
    return true;
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error, id: awaiting.id }, "reaction in a room failed, repeating");
    return false;
  }
}
