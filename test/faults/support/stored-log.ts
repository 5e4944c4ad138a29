import type { Nats } from "../../../src/eventlog/nats.ts";
import type { StoredMessage } from "../../../src/eventlog/record.ts";

/** Messages asked for at once. */
const batch = 500;

/** Every message of the stream as it is stored, read past everything that is to be checked. */
export async function readStoredLog({ jsm }: Nats, stream = "EVENTS"): Promise<StoredMessage[]> {
  const log: StoredMessage[] = [];
  const { state } = await jsm.streams.info(stream);
  for (let next = state.first_seq; next <= state.last_seq;) {
    for await (const { seq, subject, data, header } of await jsm.direct.getBatch(stream, { seq: next, batch })) {
      log.push({
        position: BigInt(seq),
        subject,
        body: data,
        prevHash: Buffer.from(header.get("Signalbox-Prev-Hash"), "base64url"),
        hash: Buffer.from(header.get("Signalbox-Hash"), "base64url"),
      });
      next = seq + 1;
    }
  }
  return log;
}
