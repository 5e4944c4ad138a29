import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { SubscribeRequestSchema } from "../../gen/signalbox/v1/event_service_pb.ts";
import { answerQuestions } from "../support/answer.ts";
import { readStream } from "../support/stream-reader.ts";

const resources = new AsyncDisposableStack();

/** Servers take 100 streams on a connection; users come on many. */
const streamsPerSession = 50;
const windowBytes = 1024 * 1024;
const patienceMs = 120_000;

/** Who subscribes to what. */
export interface Audience {
  /** The name that the other functions know them by. */
  readonly name: string;
  readonly url: string;
  readonly roomId: string;
  readonly fromPosition: bigint;
  readonly count: number;
}

interface Open {
  readonly sessions: readonly ClientHttp2Session[];
  received: number;
  /** How many have been asked for so far. */
  wanted: number;
  waiting: PromiseWithResolvers<void> | undefined;
  failure: Error | undefined;
}
const audiences = new Map<string, Open>();

async function openSession(url: string): Promise<ClientHttp2Session> {
  const session = connect(url, { settings: { initialWindowSize: windowBytes } });
  session.on("error", () => {});
  await once(session, "connect");
  session.setLocalWindowSize(windowBytes * streamsPerSession);
  return session;
}

function settle(open: Open): void {
  const { waiting, failure } = open;
  if (failure !== undefined) waiting?.reject(failure);
  else if (open.received >= open.wanted) waiting?.resolve();
}

const functions = {
  /** Opens all subscriptions; resolves when each has got its first frame. */
  async open({ name, url, roomId, fromPosition, count }: Audience): Promise<void> {
    const sessions = await Promise.all(
      Array.from({ length: Math.ceil(count / streamsPerSession) }, () => openSession(url)),
    );
    const open: Open = { sessions, received: 0, wanted: 0, waiting: undefined, failure: undefined };
    audiences.set(name, open);
    const request = create(SubscribeRequestSchema, { filter: { roomId }, fromPosition });
    const all = Array.from({ length: count }, (_, index) => {
      const session = sessions[Math.floor(index / streamsPerSession)];
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      if (session === undefined) throw new Error("no session");
      readStream(session, request, {
        ready: resolve,
        event() {
          open.received++;
          if (open.received === open.wanted) settle(open);
        },
        ended(error) {
          open.failure ??= error;
          reject(error);
          settle(open);
        },
      });
      return promise;
    });
    await Promise.all(all);
  },
  /** Resolves when all of them together have received so many events on top of those asked for before. */
  async receive({ name, count }: { name: string; count: number }): Promise<void> {
    const open = audiences.get(name);
    if (open === undefined) throw new Error(`no audience ${name}`);
    const waiting = Promise.withResolvers<void>();
    open.waiting = waiting;
    open.wanted += count;
    settle(open);
    const timer = setTimeout(
      () => waiting.reject(new Error(`${name} received ${open.received} of ${open.wanted} events in ${patienceMs} ms`)),
      patienceMs,
    );
    await waiting.promise.finally(() => clearTimeout(timer));
  },
  /** Ends the subscriptions. */
  close(name: string): void {
    for (const session of audiences.get(name)?.sessions ?? []) session.destroy();
    audiences.delete(name);
  },
};
resources.defer(() => {
  for (const name of audiences.keys()) functions.close(name);
});

/** Those who watch, in a process of their own. */
export type SubscribersProcess = typeof functions;

answerQuestions(functions, resources);
