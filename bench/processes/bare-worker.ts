import { randomBytes } from "node:crypto";
import type { JsMsg } from "@nats-io/jetstream";
import { type Nats, openNats } from "../../src/eventlog/nats.ts";
import { answerQuestions } from "../support/answer.ts";
import { bareJobs, bareSubjects, publishBare } from "../support/bare-log.ts";
import { createLogger } from "../support/logger.ts";

const resources = new AsyncDisposableStack();
const log = createLogger();

/** Where to work, and how large "claimed" and "done" are. */
export interface BareWorkerOptions {
  readonly natsUrl: string;
  readonly claimedBytes: number;
  readonly doneBytes: number;
  /** Jobs taken at the same time. */
  readonly concurrency: number;
}

const functions = {
  /** Takes jobs until the process ends: stores "claimed", then "done", then acknowledges. */
  async open({ natsUrl, claimedBytes, doneBytes, concurrency }: BareWorkerOptions): Promise<void> {
    const nats = resources.use(await openNats({ url: natsUrl, name: "bare worker", log }));
    const bodies = [randomBytes(claimedBytes), randomBytes(doneBytes)];
    const consumer = await nats.js.consumers.get(bareJobs, bareJobs);
    const messages = await consumer.consume({ max_messages: concurrency });
    resources.defer(async () => void (await messages.close()));
    void (async () => {
      for await (const job of messages) {
        work(nats, job, bodies).catch((error: unknown) => log.error({ err: error }, "bare job failed"));
      }
    })();
  },
};

async function work(nats: Nats, job: JsMsg, bodies: readonly Uint8Array[]): Promise<void> {
  const subject = `${bareSubjects.event}.${job.subject.split(".").at(-1)}`;
  let sequence = Number(job.string());
  for (const body of bodies) sequence = await publishBare(nats, subject, body, sequence);
  job.ack();
}

/** A worker in bare client code, in a process of its own. */
export type BareWorkerProcess = typeof functions;

answerQuestions(functions, resources);
