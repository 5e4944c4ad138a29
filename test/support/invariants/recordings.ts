import type { LogEvent, Violation } from "../invariants.ts";
import type { Note, Recording, Wanted } from "../recorded-subscription.ts";

/**
 * I8: subscribers got the events of their view in order, each once, none missing, with the bytes of the log, whatever broke
 * in between: every connection goes on right behind the one before.
 */
export function checkRecordings(log: readonly LogEvent[], recordings: readonly Recording[]): Violation[] {
  return recordings.flatMap((recording) => checkRecording(log, recording));
}

function checkRecording(log: readonly LogEvent[], { subscriber, wanted, notes }: Recording): Violation[] {
  const violations: Violation[] = [];
  const fail = (problem: string) => violations.push({ invariant: "I8", at: `subscriber ${subscriber}`, problem });
  const due = log.filter(({ event }) => keeps(wanted, event));
  let next = 0;
  // Everything that the view has up to the position should have come by now.
  const requireUpTo = (position: bigint, why: string) => {
    for (let entry = due[next]; entry !== undefined && entry.position <= position; entry = due[++next]) {
      fail(`${why}, but ${entry.name} had not come`);
    }
  };
  let head = 0n;
  for (const note of notes) {
    switch (note.note) {
      case "connect":
        next = firstBehind(due, BigInt(note.from));
        if (BigInt(note.from) > head) fail(`resumed from ${note.from} without having got there`);
        break;
      case "heartbeat":
        requireUpTo(BigInt(note.head), `was told that nothing is missing up to ${note.head}`);
        head = max(head, BigInt(note.head));
        break;
      case "event":
        for (const problem of misfits(due, next, note)) fail(problem);
        next = firstBehind(due, BigInt(note.position));
        head = max(head, BigInt(note.position));
        break;
      case "ready":
      case "end":
        break;
    }
  }
  requireUpTo(log.at(-1)?.position ?? 0n, "the recording ends");
  return violations;
}

type EventNote = Extract<Note, { note: "event" }>;

function* misfits(due: readonly LogEvent[], next: number, note: EventNote): Generator<string> {
  const position = BigInt(note.position);
  const index = firstBehind(due, position - 1n);
  const entry = due[index];
  if (entry === undefined || entry.position !== position) {
    yield `got position ${position}, which its view does not have`;
    return;
  }
  if (index < next) yield `got ${entry.name} again, or out of order`;
  for (const missed of due.slice(next, index)) yield `got ${entry.name} before ${missed.name}`;
  if (note.event_id !== entry.event.eventId) yield `got event_id ${note.event_id} at ${entry.name}`;
  if (note.hash !== Buffer.from(entry.stored.hash).toString("hex")) yield `got other bytes than those of ${entry.name}`;
}

/** The index of the first entry behind the position. */
function firstBehind(due: readonly LogEvent[], position: bigint): number {
  let [low, high] = [0, due.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((due[middle]?.position ?? 0n) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

function keeps({ room_id: roomId, run_id: runId }: Wanted, event: LogEvent["event"]): boolean {
  return (roomId === undefined || event.roomId === roomId) && (runId === undefined || event.stream?.id === runId);
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
