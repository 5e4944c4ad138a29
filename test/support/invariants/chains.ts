import { createHash } from "node:crypto";
import type { LogEvent, Violation } from "../invariants.ts";

interface Head {
  readonly sequence: bigint;
  readonly hash: Uint8Array;
  readonly subject: string;
}

const genesis: Head = { sequence: 0n, hash: new Uint8Array(32), subject: "" };

/**
 * I3, no fork: each event follows on the last one of its aggregate, by number and by hash; hashes are computed again from
 * the stored bytes. Also: one subject per aggregate, no event twice, positions rise.
 */
export function checkChains(log: readonly LogEvent[]): Violation[] {
  const violations: Violation[] = [];
  const heads = new Map<string, Head>();
  const ids = new Map<string, LogEvent>();
  let position = 0n;
  for (const entry of log) {
    const fail = (problem: string) => violations.push({ invariant: "I3", at: entry.name, problem });
    const head = heads.get(entry.stream) ?? genesis;
    for (const problem of brokenLinks(entry, head)) fail(problem);
    if (entry.position <= position) fail(`comes after position ${position}`);
    position = entry.position;
    const twin = ids.get(entry.event.eventId);
    if (twin !== undefined) fail(`has the event_id of ${twin.name}`);
    ids.set(entry.event.eventId, entry);
    const { subject, hash } = entry.stored;
    heads.set(entry.stream, { sequence: entry.event.streamSequence, hash, subject });
  }
  return violations;
}

function* brokenLinks({ event, stored }: LogEvent, head: Head): Generator<string> {
  if (event.streamSequence !== head.sequence + 1n) {
    yield `stream_sequence is ${event.streamSequence} after ${head.sequence}`;
  }
  if (!equal(stored.prevHash, head.hash)) yield "prev_hash is not the hash of the event before";
  if (!equal(createHash("sha256").update(stored.prevHash).update(stored.body).digest(), stored.hash)) {
    yield "hash is not the SHA-256 of prev_hash and stored bytes";
  }
  if (head !== genesis && stored.subject !== head.subject)
    yield `is stored under ${stored.subject}, not ${head.subject}`;
  const named = [event.workspaceId, event.roomId || "_", event.stream?.type, event.stream?.id].join(".");
  if (!stored.subject.endsWith(`.${named}`)) yield `its subject ${stored.subject} does not end with ${named}`;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
