import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ClaimRunResponse, WorkRequestSchema, WorkResponse } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { until } from "../support/until.ts";

type Outgoing = MessageInitShape<typeof WorkRequestSchema>;
type Carried = Extract<Outgoing["request"], { case: string }>;

/** A Work stream in the hands of a test. */
export interface OpenWork extends AsyncDisposable {
  /** Everything that the server has sent, in order. */
  readonly received: readonly WorkResponse[];
  /** Resolves when the stream has ended: with its error, undefined when it ended well. */
  readonly ended: Promise<unknown>;
  send(message: Outgoing): void;
  /** Sends a call; resolves with its answer, also when that is an error. */
  call(request: Carried): Promise<WorkResponse["response"]>;
  want(runs: number): void;
  /** The next run that has not been asked for here. */
  run(): Promise<ClaimRunResponse & { readonly run: Run }>;
  /** Sends nothing more. */
  close(): void;
  /** Cuts the stream off. */
  abort(): void;
}

/** Opens a stream for a handler; the first message is sent at once, unless `first` is another one or none. */
export function openWork(client: SignalboxClient, handler: string, first?: Outgoing | "nothing"): OpenWork {
  const stop = new AbortController();
  const queue: Outgoing[] = [];
  const received: WorkResponse[] = [];
  let closed = false;
  let wake = () => {};
  let calls = 0n;
  let runs = 0;

  async function* outgoing(): AsyncGenerator<Outgoing> {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else if (closed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  function send(message: Outgoing): void {
    queue.push(message);
    wake();
  }

  async function read(): Promise<unknown> {
    try {
      for await (const response of client.engine.work(outgoing(), { signal: stop.signal })) received.push(response);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  const claim = { handlers: [handler], workerId: "streaming" };
  if (first !== "nothing") send(first ?? { request: { case: "want", value: { claim } } });
  const ended = read();
  const cut = ended.then((cause) => Promise.reject(new Error("the stream has ended", { cause })));
  cut.catch(() => {});
  const close = () => {
    closed = true;
    wake();
  };
  return {
    received,
    ended,
    send,
    close,
    abort: () => stop.abort(),
    call(request) {
      const number = ++calls;
      send({ call: number, request });
      const answer = () => received.find(({ call }) => call === number)?.response;
      return Promise.race([until(answer, { what: `the answer to ${request.case}` }), cut]);
    },
    want: (count) => send({ request: { case: "want", value: { runs: count } } }),
    async run() {
      const index = runs++;
      const found = () => received.filter(({ response }) => response.case === "run")[index]?.response.value;
      const run = await Promise.race([until(found, { what: "a run" }), cut]);
      return run as ClaimRunResponse & { readonly run: Run };
    },
    async [Symbol.asyncDispose]() {
      close();
      stop.abort();
      await ended;
    },
  };
}
