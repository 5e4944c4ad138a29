import { randomBytes, randomUUID } from "node:crypto";
import { AckPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { Nats } from "../../src/eventlog/nats.ts";
import { ensureStream, eventsStream } from "../../src/eventlog/streams.ts";

/** Streams of the limits: what is published to them passes nothing but the NATS client. */
export const bareSubjects = { event: "bare.evt", job: "bare.job" } as const;
/** The stream of bare events, with the settings of the log. */
export const bareEvents = "BARE_EVENTS";
/** The stream of bare jobs, with the settings of the queue, and its consumer. */
export const bareJobs = "BARE_JOBS";

/** Creates the streams, or checks that they are there. */
export async function ensureBareStreams({ jsm }: Nats): Promise<void> {
  await ensureStream(jsm, eventsStream(bareEvents, `${bareSubjects.event}.>`, 1));
  await jsm.streams.add({
    name: bareJobs,
    subjects: [`${bareSubjects.job}.>`],
    storage: StorageType.Memory,
    retention: RetentionPolicy.Workqueue,
  });
  await jsm.consumers.add(bareJobs, {
    durable_name: bareJobs,
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: -1,
  });
}

/** Stores `body` behind `expectSequence` (0 for a new subject), with the headers that the log has. Returns its sequence. */
export async function publishBare(
  { js }: Nats,
  subject: string,
  body: Uint8Array,
  expectSequence: number,
): Promise<number> {
  const fields = headers();
  fields.set("Signalbox-Prev-Hash", hash);
  fields.set("Signalbox-Hash", hash);
  const { seq } = await js.publish(subject, body, {
    msgID: randomUUID(),
    headers: fields,
    expect: { lastSubjectSequence: expectSequence },
  });
  return seq;
}

const hash = randomBytes(32).toString("base64url");
