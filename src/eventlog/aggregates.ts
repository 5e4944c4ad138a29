import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { EventLog } from "./event-log.ts";
import { type EventPayload, eventTypes } from "./event-type.ts";
import { chainHash, encodeBody, type EventRecord, genesisHash } from "./record.ts";
import { createStateCache } from "./state-cache.ts";
import type { StreamKey } from "./subjects.ts";

/** Conflicts in a row before a caller is told to come back later. */
const decideAttempts = 16;

/** What a noun says about its aggregates. */
export interface AggregateDefinition<State> {
  /** The stream type: `run`, `agent`. */
  readonly type: string;
  /** The state before the first event. */
  readonly initial: State;
  /** The state after one more event. Pure. */
  readonly evolve: (state: State, event: Event) => State;
  /** How much of an event of that size the state holds on to at most, in bytes. Default all of it. */
  readonly heldBytes?: (event: Event, sizeBytes: number) => number;
}

/** An aggregate as it was after one of its events. */
export interface Loaded<State> {
  readonly state: State;
  /** The newest event's position; 0 before the first. */
  readonly position: bigint;
  /** The newest event's stream_sequence; 0 before the first. */
  readonly sequence: bigint;
  /** The newest event's hash. */
  readonly hash: Uint8Array;
  /** The subject its events go to; undefined before the first. */
  readonly subject: string | undefined;
  /** The conversation that it belongs to, as its first event says; empty for none. */
  readonly threadId: string;
  /** What the state holds of each of its events, added up: an upper bound for its size, in bytes. */
  readonly sizeBytes: number;
}

/** What a decision wants to record. */
export interface Draft {
  readonly payload: EventPayload;
  readonly zone: Zone;
  /** Who did it; unset for whoever called. */
  readonly actor?: Principal;
}

/** One command to one aggregate. */
export interface Command<State> {
  readonly call: Omit<Call, "signal">;
  readonly id: string;
  /** Set when the command creates the aggregate. Nothing is loaded first. */
  readonly creation?: {
    /** The room whose feed shows it; empty for none. */
    readonly roomId: string;
    /** The conversation that it belongs to; unset for none. */
    readonly threadId?: string;
    /** True when the id is derived from a request_id, so that it may be taken already, in whatever room. */
    readonly repeatable: boolean;
  };
  /** The event that this command follows from; unset when a call from outside caused it. */
  readonly causationId?: string;
  /** The event to record, undefined when it is on record already; throws when it may not be. Pure; may run more than once. */
  readonly decide: (state: State, now: Date) => Draft | undefined;
}

/** The aggregates of one noun: commands in, events out. */
export interface Aggregates<State> {
  /** The aggregate as it is now, confirmed by the log's leader. */
  load(workspaceId: string, id: string): Promise<Loaded<State>>;
  /** The aggregate as this process saw it last, without asking anybody; undefined when it has not lately. */
  cached(workspaceId: string, id: string): Loaded<State> | undefined;
  /**
   * Decides and records. Returns the state after the decision's event, or the present state when nothing had to be
   * recorded. Whatever `decide` throws comes out unchanged, but only after it was decided on confirmed state.
   * CONTENTION, STORE_UNAVAILABLE.
   */
  execute(command: Command<State>): Promise<Loaded<State> & { readonly recorded: EventRecord | undefined }>;
}

/** What every noun's aggregates share. */
export interface AggregatesDeps {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Cached state per noun, in bytes of its events. Default 64 MiB. */
  readonly cacheBytes?: number;
}

/** The aggregates of one noun on a log. */
export function createAggregates<State>(
  definition: AggregateDefinition<State>,
  { log, clock, ids, cacheBytes = 64 * 1024 * 1024 }: AggregatesDeps,
): Aggregates<State> {
  const { heldBytes = (_event, sizeBytes) => sizeBytes } = definition;
  const cache = createStateCache<Loaded<State>>(cacheBytes);
  const turns = new Map<string, Promise<unknown>>();
  const absent: Loaded<State> = {
    state: definition.initial,
    position: 0n,
    sequence: 0n,
    hash: genesisHash,
    subject: undefined,
    threadId: "",
    sizeBytes: 0,
  };

  function apply(loaded: Loaded<State>, record: EventRecord): Loaded<State> {
    return {
      state: definition.evolve(loaded.state, record.event),
      position: record.position,
      sequence: loaded.sequence + 1n,
      hash: record.hash,
      subject: record.subject,
      threadId: loaded.subject === undefined ? record.event.threadId : loaded.threadId,
      sizeBytes: loaded.sizeBytes + heldBytes(record.event, record.body.length),
    };
  }

  /** Brings a state up to what the leader knows now. */
  async function refresh(key: StreamKey, from: Loaded<State>): Promise<Loaded<State>> {
    const newest = await log.last(from.subject ?? log.subjects.anyRoom(key));
    let loaded = from;
    if (newest === undefined || newest.position <= loaded.position) return loaded;
    for await (const record of log.read(newest.subject, loaded.position, newest.position)) {
      loaded = apply(loaded, record);
    }
    cache.set(cacheKey(key), loaded);
    return loaded;
  }

  async function decideAndAppend(key: StreamKey, command: Command<State>) {
    const cached = cache.get(cacheKey(key));
    let loaded = cached ?? absent;
    // A stale state can do no harm where an append follows: the expectation guards it. Everything else, a refusal or
    // "already done", must rest on confirmed state.
    let confirmed = false;
    if (cached === undefined && command.creation === undefined) {
      loaded = await refresh(key, absent);
      confirmed = true;
    }
    for (let attempt = 0; attempt < decideAttempts;) {
      const now = clock.now();
      const decision = tryDecide(() => command.decide(loaded.state, now));
      if (!("draft" in decision)) {
        if (!confirmed) {
          loaded = await refresh(key, loaded);
          confirmed = true;
          continue;
        }
        if ("error" in decision) throw decision.error;
        return { ...loaded, recorded: undefined };
      }
      const record = await log.append(publication(key, loaded, command, decision.draft, now));
      if (record !== undefined) {
        const next = apply(loaded, record);
        cache.set(cacheKey(key), next);
        return { ...next, recorded: record };
      }
      loaded = await refresh(key, loaded);
      confirmed = true;
      attempt++;
    }
    throw new SignalboxError("CONTENTION", `too many writers on ${key.id}; nothing was written, repeat with backoff`);
  }

  function publication(key: StreamKey, loaded: Loaded<State>, command: Command<State>, draft: Draft, now: Date) {
    const subject = loaded.subject ?? log.subjects.of(key, command.creation?.roomId ?? "");
    const event = create(EventSchema, {
      eventId: ids.uuid(),
      workspaceId: key.workspaceId,
      roomId: roomOf(subject),
      threadId: loaded.subject === undefined ? (command.creation?.threadId ?? "") : loaded.threadId,
      stream: { type: key.type, id: key.id },
      streamSequence: loaded.sequence + 1n,
      type: eventTypes[draft.payload.case],
      actor: draft.actor ?? command.call.principal,
      zone: draft.zone,
      correlationId: command.call.correlationId,
      causationId: command.causationId ?? "",
      traceparent: command.call.traceparent,
      createTime: timestampFromDate(now),
      payload: draft.payload,
    });
    const body = encodeBody(event);
    return {
      subject,
      eventId: event.eventId,
      body,
      prevHash: loaded.hash,
      hash: chainHash(loaded.hash, body),
      expectPosition: loaded.position,
      // The room is part of the subject: a repeated create that names another room must meet the first one.
      filter: loaded.subject === undefined && command.creation?.repeatable ? log.subjects.anyRoom(key) : subject,
    };
  }

  return {
    load: (workspaceId, id) => {
      const key = { workspaceId, type: definition.type, id };
      return refresh(key, cache.get(cacheKey(key)) ?? absent);
    },
    cached: (workspaceId, id) => cache.get(cacheKey({ workspaceId, type: definition.type, id })),
    execute: (command) => {
      const key = { workspaceId: command.call.workspaceId, type: definition.type, id: command.id };
      return inTurn(turns, cacheKey(key), () => decideAndAppend(key, command));
    },
  };
}

function cacheKey(key: StreamKey): string {
  return `${key.workspaceId}/${key.id}`;
}

function roomOf(subject: string): string {
  const room = subject.split(".").at(-3) ?? "_";
  return room === "_" ? "" : room;
}

type Decision = { draft: Draft } | { error: unknown } | { nothing: true };

function tryDecide(decide: () => Draft | undefined): Decision {
  try {
    const draft = decide();
    return draft === undefined ? { nothing: true } : { draft };
  } catch (error) {
    return { error };
  }
}

/** Commands of one process to one aggregate go one after the other: they would only conflict with each other. */
async function inTurn<T>(turns: Map<string, Promise<unknown>>, key: string, fn: () => Promise<T>): Promise<T> {
  const before = turns.get(key);
  const mine = before === undefined ? fn() : before.then(fn, fn);
  turns.set(key, mine);
  try {
    return await mine;
  } finally {
    if (turns.get(key) === mine) turns.delete(key);
  }
}
