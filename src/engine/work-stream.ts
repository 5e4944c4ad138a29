import { create, type DescMessage, type Message, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import { EngineService, WorkRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { WorkerSchema } from "../../gen/signalbox/v1/worker_pb.ts";
import { createBackoff, pause } from "../client/backoff.ts";
import { isTransient, reasonOf } from "../client/reason.ts";
import type { Engine } from "./lease.ts";
import { type Claiming, type Link, singleCalls } from "./link.ts";
import type { WorkerLog } from "./log.ts";
import type { Slots } from "./slots.ts";
import { type CarriedRequest, openSession, type Session } from "./work-session.ts";

/** What a worker works with over a stream. */
export interface WorkStreamOptions {
  /** Single calls: for what a stream does not carry, and while there is none. */
  readonly engine: Engine;
  readonly concurrency: number;
  /** The worker as it is now: each stream begins with its report, whose answer shows that the stream works. */
  readonly describe: () => MessageInitShape<typeof WorkerSchema>;
  readonly log: WorkerLog;
}

/** What is larger would hold up everything behind it, so it goes by itself. */
const maxCarriedBytes = 64 * 1024;
/** How long the server may take to say something on a new stream. */
const openTimeoutMs = 10_000;
/** How long the server may take to end a stream on which nothing more is sent. */
const farewellMs = 2_000;
/** How many streams in a row may stay unopened while single calls get through, as behind a proxy that holds streams back. */
const maxUnopened = 3;
/** How long a single call may take to get through. */
const probeTimeoutMs = 5_000;

/**
 * Runs and calls over one Work stream, which is opened again when it ends; meanwhile every call goes by itself. With a
 * server that has no Work streams, or that none of them reaches, everything does.
 */
export function streamedCalls(options: WorkStreamOptions): Link {
  const { concurrency, log } = options;
  const singles = singleCalls(options, concurrency);
  let working: Session | undefined;

  function open({ queues, handlers, workerId, onClaim }: Claiming, wants: Wants): Session {
    const session = openSession({
      engine: options.engine,
      claim: { queues: [...queues], handlers: [...handlers], workerId },
      onRun(run) {
        wants.met();
        onClaim(run);
      },
    });
    // Any answer will do, and no answer shows at the end of the stream.
    session.call({ case: "reportWorker", value: { worker: options.describe() } }).catch(() => undefined);
    return session;
  }

  /** Works on a stream until it is over, or the signal aborts. Runs are asked for once `earlier` has ended. */
  async function workOn(
    session: Session,
    wants: Wants,
    earlier: Promise<unknown>,
    claiming: Claiming,
    stop: Promise<void>,
  ) {
    const tooLate = setTimeout(() => session.abort(silent()), openTimeoutMs);
    const opened = await Promise.race([session.opened, stop]);
    clearTimeout(tooLate);
    if (opened !== true) return "unopened";
    working = session;
    claiming.onTrouble(undefined);
    // An earlier stream may still bring a run, which is one less to ask for.
    void earlier.then(() => (working === session ? wants.moveTo(session) : undefined));
    const how = await Promise.race([session.over, stop]);
    working = undefined;
    wants.moveTo(undefined);
    return how ?? "stopped";
  }

  /** True when the server answers a single call: it is there, whatever becomes of streams. */
  async function getsThrough(signal: AbortSignal): Promise<boolean> {
    try {
      await options.engine.reportWorker({ worker: options.describe() }, { signal, timeoutMs: probeTimeoutMs });
      return true;
    } catch (err) {
      log.debug({ err }, "a single call does not reach the server either");
      return false;
    }
  }

  async function claim(claiming: Claiming, signal: AbortSignal): Promise<void> {
    const wants = createWants(claiming.slots, signal);
    const backoff = createBackoff(100, 5_000);
    const stop = aborted(signal);
    let ended: Promise<ConnectError | undefined> = Promise.resolve(undefined);
    let error: ConnectError | undefined;
    let unopened = 0;
    while (!signal.aborted && unopened < maxUnopened && (error === undefined || mayPass(error))) {
      const session = open(claiming, wants);
      const how = await workOn(session, wants, ended, claiming, stop);
      ended = farewell(session);
      if (signal.aborted) break;
      error = how === "draining" ? undefined : await ended;
      if (error !== undefined && mayPass(error)) claiming.onTrouble(error);
      if (how !== "unopened") backoff.reset();
      unopened = how === "unopened" && isCut(error) && (await getsThrough(signal)) ? unopened + 1 : 0;
      await pause(backoff.next(), signal);
    }
    await ended;
    await wants.end();
    if (signal.aborted) return;
    if (error !== undefined && !mayPass(error) && !hasNoStreams(error)) throw error;
    const why = unopened === maxUnopened ? "no Work stream reaches the server" : "the server takes no Work streams";
    log.warn({ err: error }, `${why}; going on with single calls`);
    return singles.claim(claiming, signal);
  }

  return {
    engine: carriedBy(() => working, options.engine),
    claim,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The calls that a stream carries, and what they are called there. */
const carriedMethods = WorkRequestSchema.fields
  .map(({ localName }) => localName)
  .filter((name): name is Exclude<CarriedRequest["case"], "want"> => name !== "want" && name in EngineService.method);

type SingleCall = (request: MessageInitShape<DescMessage>, options?: CallOptions) => Promise<Message>;

/** The same calls, over the stream while there is one. Of the options, `signal` and `timeoutMs` go with it. */
function carriedBy(session: () => Session | undefined, engine: Engine): Engine {
  const carried = carriedMethods.map((name): [string, SingleCall] => {
    const schema: DescMessage = EngineService.method[name].input;
    const single = engine[name] as SingleCall;
    return [
      name,
      (init, options) => {
        const open = session();
        if (open === undefined) return single(init, options);
        const value = create(schema, init);
        if (toBinary(schema, value).length > maxCarriedBytes) return single(value, options);
        return open.call({ case: name, value } as CarriedRequest, options);
      },
    ];
  });
  return { ...engine, ...Object.fromEntries(carried) };
}

/** Runs that are wanted: places taken for them, and not filled yet. */
interface Wants {
  /** One has come. */
  met(): void;
  /** Asks this stream for all of them from now on; no stream while it is undefined. */
  moveTo(session: Session | undefined): void;
  /** Wants none any more. */
  end(): Promise<void>;
}

function createWants(slots: Slots, signal: AbortSignal): Wants {
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  let open = 0;
  let target: Session | undefined;
  async function takeAll(): Promise<void> {
    while (await slots.take(stop)) {
      open++;
      target?.want(1);
    }
  }
  const taking = takeAll();
  return {
    met() {
      open--;
    },
    moveTo(session) {
      target = session;
      session?.want(open);
    },
    async end() {
      ending.abort();
      await taking;
      for (; open > 0; open--) slots.free();
    },
  };
}

/** Says goodbye: what is under way is still answered, if that does not take long. Resolves with how it ended. */
async function farewell(session: Session): Promise<ConnectError | undefined> {
  session.close();
  const timer = setTimeout(() => session.abort(silent()), farewellMs);
  const error = await session.ended;
  clearTimeout(timer);
  return error;
}

/** True when something on the way may have ended the stream; a server that refuses one says why. */
function isCut(error: ConnectError | undefined): boolean {
  return error !== undefined && mayPass(error) && reasonOf(error) === undefined;
}

function mayPass(error: ConnectError): boolean {
  return isTransient(error) && !hasNoStreams(error);
}

/** A server from before there were Work streams, or HTTP/1.1 on the way to it: a 505 is all that Connect tells of that. */
function hasNoStreams({ code, rawMessage }: ConnectError): boolean {
  return code === Code.Unimplemented || rawMessage === "HTTP 505";
}

function silent(): ConnectError {
  return new ConnectError("the server says nothing on the Work stream", Code.Unavailable);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
