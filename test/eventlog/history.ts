import { chainHash, type EventRecord, genesisHash } from "../../src/eventlog/record.ts";

/** What is wrong with the chains of some events in log order (I3, I10): one line each, empty when all is well. */
export function chainProblems(records: readonly EventRecord[]): string[] {
  const heads = new Map<string, { sequence: bigint; hash: Uint8Array }>();
  const problems: string[] = [];
  let before = 0n;
  for (const record of records) {
    const { position, event, prevHash, hash, body } = record;
    const key = `${event.workspaceId}/${event.stream?.type}/${event.stream?.id}`;
    const head = heads.get(key) ?? { sequence: 0n, hash: genesisHash };
    const expect = (holds: boolean, what: string) => holds || problems.push(`${position}: ${key} ${what}`);
    expect(position > before, "is out of order");
    expect(event.streamSequence === head.sequence + 1n, `has sequence ${event.streamSequence} after ${head.sequence}`);
    expect(Buffer.compare(prevHash, head.hash) === 0, "does not chain to the event before");
    expect(Buffer.compare(hash, chainHash(prevHash, body)) === 0, "has another hash than its bytes");
    heads.set(key, { sequence: event.streamSequence, hash });
    before = position;
  }
  return problems;
}
