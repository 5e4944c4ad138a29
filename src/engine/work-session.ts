import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type {
  ClaimRunRequestSchema,
  WorkError,
  WorkRequestSchema,
  WorkResponse,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Claim, Engine } from "./lease.ts";

type Outgoing = MessageInitShape<typeof WorkRequestSchema>;

/** What a Work stream is opened with. */
export interface SessionOptions {
  readonly engine: Pick<Engine, "work">;
  /** What the worker can do. */
  readonly claim: MessageInitShape<typeof ClaimRunRequestSchema>;
  readonly onRun: (claim: Claim) => void;
}

/** One Work stream, from its opening to its end. */
export interface Session {
  /** Resolves with true once the server has sent something, with false when the stream has ended before that. */
  readonly opened: Promise<boolean>;
  /** Resolves once the server has said that it shuts down, or the stream has ended. */
  readonly over: Promise<"draining" | "ended">;
  /** Resolves once the stream has ended: with its error, undefined when it ended well. Never rejects. */
  readonly ended: Promise<ConnectError | undefined>;
  /** The answer to a call. Throws what the single call would throw, and UNAVAILABLE when the stream ends before it. */
  call(request: CarriedRequest, options?: CallOptions): Promise<Message>;
  /** Asks for so many runs more. */
  want(runs: number): void;
  /** Sends nothing more; what is under way is still answered. Doing it twice is fine. */
  close(): void;
  /** Ends it at once. */
  abort(reason: ConnectError): void;
}

/** A call inside a Work stream. */
export type CarriedRequest = Extract<Outgoing["request"], { case: string }>;

interface Waiting {
  readonly resolve: (answer: Message) => void;
  readonly reject: (error: ConnectError) => void;
}

/** The most runs that one want may ask for. */
const maxWanted = 10_000;

/** Opens a stream; what does not work shows at its end. */
export function openSession({ engine, claim, onRun }: SessionOptions): Session {
  const controller = new AbortController();
  const waiting = new Map<bigint, Waiting>();
  const queue: Outgoing[] = [{ request: { case: "want", value: { claim } } }];
  const opened = Promise.withResolvers<boolean>();
  const over = Promise.withResolvers<"draining" | "ended">();
  let wanted = 0;
  let lastCall = 0n;
  let heardMs = 0;
  let closed = false;
  let wake = () => {};

  async function* outgoing(): AsyncGenerator<Outgoing> {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else if (closed) return;
      else if (wanted > 0) {
        const runs = Math.min(wanted, maxWanted);
        wanted -= runs;
        yield { request: { case: "want", value: { runs } } };
      } else await new Promise<void>((resolve) => (wake = resolve));
    }
  }

  function onResponse({ call, response }: WorkResponse): void {
    heardMs = performance.now();
    opened.resolve(true);
    if (response.case === "run") {
      if (response.value.run !== undefined) onRun(response.value as Claim);
    } else if (response.case === "draining") {
      over.resolve("draining");
    } else {
      const caller = waiting.get(call);
      waiting.delete(call);
      if (response.case === "error") caller?.reject(refusal(response.value));
      else if (response.case === undefined) caller?.reject(new ConnectError("the answer is empty", Code.Internal));
      else caller?.resolve(response.value);
    }
  }

  async function run(): Promise<ConnectError | undefined> {
    let end: ConnectError | undefined;
    try {
      for await (const response of engine.work(outgoing(), { signal: controller.signal })) onResponse(response);
    } catch (error) {
      end = ConnectError.from(controller.signal.aborted ? controller.signal.reason : error);
    }
    closed = true;
    wake();
    const cause = end === undefined ? "" : `: ${end.rawMessage}`;
    const unanswered = new ConnectError(`the Work stream ended before the answer${cause}`, Code.Unavailable);
    for (const { reject } of waiting.values()) reject(unanswered);
    opened.resolve(false);
    over.resolve("ended");
    return end;
  }

  const ended = run();
  return {
    opened: opened.promise,
    over: over.promise,
    ended,
    call(request, { signal, timeoutMs } = {}) {
      const number = ++lastCall;
      return new Promise((resolve, reject) => {
        const sentMs = performance.now();
        const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs);
        const settle = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          waiting.delete(number);
        };
        function fail(error: ConnectError): void {
          settle();
          reject(error);
        }
        function onAbort(): void {
          fail(ConnectError.from(signal?.reason, Code.Canceled));
        }
        function onTimeout(): void {
          fail(new ConnectError("the operation timed out", Code.DeadlineExceeded));
          // Not one word since: it is the stream, not the call.
          if (heardMs < sentMs) controller.abort(new ConnectError("the Work stream is silent", Code.Unavailable));
        }
        if (signal?.aborted) return onAbort();
        if (closed) return fail(new ConnectError("the Work stream has ended", Code.Unavailable));
        signal?.addEventListener("abort", onAbort);
        waiting.set(number, {
          resolve: (answer) => {
            settle();
            resolve(answer);
          },
          reject: fail,
        });
        queue.push({ call: number, request });
        wake();
      });
    },
    want(runs) {
      wanted += runs;
      wake();
    },
    close() {
      closed = true;
      wake();
    },
    abort: (reason) => controller.abort(reason),
  };
}

const codes = new Map<number, Code>(
  Object.values(Code).flatMap((code) => (typeof code === "number" ? [[code, code]] : [])),
);

/** A refusal inside a stream as the error of a single call. */
function refusal({ code, message, reason, metadata }: WorkError): ConnectError {
  const value = { reason, domain: "signalbox", metadata };
  const details = reason === "" ? [] : [{ desc: ErrorInfoSchema, value }];
  return new ConnectError(message, codes.get(code) ?? Code.Unknown, undefined, details);
}
