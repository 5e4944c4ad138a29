import { randomBytes } from "node:crypto";
import { DeliverPolicy } from "@nats-io/jetstream";
import { type Nats, openNats } from "../../src/eventlog/nats.ts";
import { answerQuestions } from "../support/answer.ts";
import { bareEvents, bareSubjects, publishBare } from "../support/bare-log.ts";
import { type Load, type LoadShape, press } from "../support/load.ts";
import { createLogger } from "../support/logger.ts";
import { type Board, createBoard, submitMany, submitOneByOne } from "../support/submit.ts";

const resources = new AsyncDisposableStack();

/** What a bare client does without Signalbox. */
interface BareClient {
  readonly nats: Nats;
  readonly board: Board;
  /** Stores a "created" and makes a job for it. Returns its id. */
  submit(): Promise<string>;
}
let opened: BareClient | undefined;

function client(): BareClient {
  if (opened === undefined) throw new Error("open comes first");
  return opened;
}

let created = 0;
/** A subject token that was never used before. */
function nextId(): string {
  return `${process.pid}-${++created}`;
}

/** An end is known once it is stored and has come back, as a subscriber of Signalbox knows it: the third event of its subject. */
async function followEnds({ js }: Nats, board: Board): Promise<void> {
  const consumer = await js.consumers.get(bareEvents, { deliver_policy: DeliverPolicy.New });
  const messages = await consumer.consume();
  resources.defer(async () => void (await messages.close()));
  const seen = new Map<string, number>();
  void (async () => {
    for await (const { subject } of messages) {
      const events = (seen.get(subject) ?? 0) + 1;
      if (events < 3) seen.set(subject, events);
      else {
        seen.delete(subject);
        board.finish(subject);
      }
    }
  })();
}

const functions = {
  /** Connects. `eventBytes` is the size of a "created". */
  async open({ natsUrl, eventBytes }: { natsUrl: string; eventBytes: number }): Promise<void> {
    const nats = resources.use(await openNats({ url: natsUrl, name: "bare clients", log: createLogger() }));
    const body = randomBytes(eventBytes);
    const board = createBoard();
    await followEnds(nats, board);
    opened = {
      nats,
      board,
      async submit() {
        const id = nextId();
        const subject = `${bareSubjects.event}.${id}`;
        const sequence = await publishBare(nats, subject, body, 0);
        await nats.js.publish(`${bareSubjects.job}.${id}`, String(sequence), { expect: { lastSubjectSequence: 0 } });
        return subject;
      },
    };
  },
  /** Stores events of these sizes in bytes, one after the other, on a subject of their own; all of them count as one. */
  publish({ sizes, ...shape }: LoadShape & { sizes: readonly number[] }): Promise<Load> {
    const { nats } = client();
    const bodies = sizes.map((bytes) => randomBytes(bytes));
    return press(shape, async () => {
      const subject = `${bareSubjects.event}.${nextId()}`;
      let sequence = 0;
      for (const body of bodies) sequence = await publishBare(nats, subject, body, sequence);
    });
  },
  /** Submits one after the other, each when the one before has ended. */
  runOneByOne: ({ count }: { count: number }): Promise<Load> => submitOneByOne({ ...client(), count }),
  /** Submits so many at a time and waits for all to end. Returns how many did in a second. */
  runMany: ({ count, concurrency }: { count: number; concurrency: number }): Promise<number> =>
    submitMany({ ...client(), count }, concurrency),
};

/** The same work as Signalbox does, in bare client code, in a process of its own. */
export type BareClientsProcess = typeof functions;

answerQuestions(functions, resources);
