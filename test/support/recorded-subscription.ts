import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { createBackoff, pause } from "../../src/client/backoff.ts";
import { follow, isTransient, type SignalboxClient } from "../../src/client/client.ts";
import { chainHash, encodeBody } from "../../src/eventlog/record.ts";

/** Which events a subscriber wants; unset fields keep everything. */
export interface Wanted {
  readonly room_id?: string;
  readonly run_id?: string;
}

/** Something that a subscriber did or got. */
export type Note =
  /** It connected, to get what follows on a position. */
  | { readonly note: "connect"; readonly from: string }
  | { readonly note: "ready"; readonly head: string }
  /** `hash` is computed from what arrived. */
  | { readonly note: "event"; readonly position: string; readonly event_id: string; readonly hash: string }
  | { readonly note: "heartbeat"; readonly head: string }
  /** The server ended it, because the run that it named had ended. */
  | { readonly note: "end" };

/** What one subscriber got, over all its connections. */
export interface Recording {
  readonly subscriber: string;
  readonly wanted: Wanted;
  readonly notes: Note[];
}

/** A subscriber at work. */
export interface Subscriber {
  readonly recording: Recording;
  /** Every event up to here has arrived. */
  position(): bigint;
  /** Resolves when the subscriber has ended; rejects with what does not pass by itself. */
  readonly done: Promise<void>;
}

interface SubscriberOptions {
  readonly name: string;
  /** The clients to use in turns, one for each connection. */
  readonly clients: readonly Pick<SignalboxClient, "events">[];
  readonly wanted: Wanted;
  readonly signal: AbortSignal;
  /** Told of each event. */
  readonly onEvent?: (event: Event) => void;
}

/** Subscribes from the beginning, resumes by itself after every break, and notes every frame as it came. */
export function subscribeRecorded({ name, clients, wanted, signal, onEvent }: SubscriberOptions): Subscriber {
  const notes: Note[] = [];
  const backoff = createBackoff(50, 500);
  let position = 0n;

  async function connect(client: Pick<SignalboxClient, "events">): Promise<void> {
    notes.push({ note: "connect", from: String(position) });
    const request = { filter: filterOf(wanted), fromPosition: position };
    for await (const { frame } of client.events.subscribe(request, { signal })) {
      if (frame.case === "ready") notes.push({ note: "ready", head: String(frame.value.headPosition) });
      if (frame.case === "heartbeat") {
        notes.push({ note: "heartbeat", head: String(frame.value.headPosition) });
        if (frame.value.headPosition > position) position = frame.value.headPosition;
      }
      if (frame.case !== "event") continue;
      backoff.reset();
      notes.push(eventNote(frame.value));
      onEvent?.(frame.value);
      position = frame.value.position;
    }
    notes.push({ note: "end" });
  }

  async function run(): Promise<void> {
    for (let turn = 0; !signal.aborted; turn++) {
      try {
        const client = clients[turn % clients.length];
        if (client !== undefined) await connect(client);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (!isTransient(error)) throw error;
      }
      await pause(backoff.next(), signal);
    }
  }

  return { recording: { subscriber: name, wanted, notes }, position: () => position, done: run() };
}

/** The same through `follow`, which resumes on its own and hands out events only. */
export function followRecorded({ name, clients: [client], wanted, signal }: SubscriberOptions): Subscriber {
  const notes: Note[] = [{ note: "connect", from: "0" }];
  let position = 0n;
  async function run(): Promise<void> {
    if (client === undefined) return;
    for await (const event of follow(client, { filter: filterOf(wanted), signal })) {
      notes.push(eventNote(event));
      position = event.position;
    }
    if (!signal.aborted) notes.push({ note: "end" });
  }
  return { recording: { subscriber: name, wanted, notes }, position: () => position, done: run() };
}

/** Polls from the beginning to the present end, as one more subscriber. */
export async function pollRecorded({ name, clients: [client], wanted, signal }: SubscriberOptions): Promise<Recording> {
  const notes: Note[] = [{ note: "connect", from: "0" }];
  let afterPosition = 0n;
  for (let more = client !== undefined; more && client !== undefined;) {
    const request = { filter: filterOf(wanted), afterPosition, pageSize: 200 };
    const page = await client.events.listEvents(request, { signal });
    notes.push(...page.events.map(eventNote));
    afterPosition = page.nextPosition;
    more = page.events.length > 0;
  }
  return { subscriber: name, wanted, notes };
}

function filterOf({ room_id: roomId = "", run_id: runId = "" }: Wanted) {
  return { roomId, runId };
}

function eventNote(event: Event): Note {
  const hash = Buffer.from(chainHash(event.prevHash, encodeBody(event))).toString("hex");
  return { note: "event", position: String(event.position), event_id: event.eventId, hash };
}
