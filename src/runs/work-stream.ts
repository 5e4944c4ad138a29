import { create } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import {
  EngineService,
  ReleaseRunRequestSchema,
  type WorkRequest,
  WorkWantSchema,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import { SignalboxError, toConnectError } from "../kernel/errors.ts";
import { createBell } from "../kernel/wait.ts";
import type { ClaimAnswer } from "./claim-response.ts";
import type { Engine } from "./engine.ts";
import type { EngineCalls } from "./engine-calls.ts";
import { innerAnswer, type Serving, type WorkAnswer } from "./inner-answer.ts";
import { createStreamClaims, type StreamClaims } from "./stream-claims.ts";

/** What Work streams need. */
export interface WorkStreamDeps {
  readonly engine: Pick<Engine, "claim" | "release">;
  readonly calls: EngineCalls;
  /** Ends the claims; calls go on being answered for as long as the server lets them. */
  readonly draining: AbortSignal;
  readonly log: Logger;
}

/** Something to send. */
interface Sending {
  readonly answer: WorkAnswer;
  /** The lease to give back when it can not be sent. */
  readonly leaseToken?: string | undefined;
  /** Called once it is sent, or never will be. */
  readonly done: () => void;
}

/** Calls under way on one stream, sent answers left out: as many as an HTTP/2 connection carries. Then reading stops. */
const maxCalls = 100;

/**
 * Serves a Work stream: runs as they come for those that the worker wants, and an answer to every call, in any order. Ends
 * once the worker sends nothing more and everything is answered. Throws INVALID_REQUEST for what can not be answered under
 * a number: a first message without claim, a want that breaks a rule, a call without number.
 */
export async function* workStream(
  { engine, calls, draining, log }: WorkStreamDeps,
  requests: AsyncIterable<WorkRequest>,
  serving: Serving,
): AsyncGenerator<WorkAnswer, void, undefined> {
  const { call, check, innerCall } = serving;
  const outbox: Sending[] = [];
  const sendBell = createBell();
  const readBell = createBell();
  const ending = new AbortController();
  const giveUp = AbortSignal.any([call.signal, draining, ending.signal]);
  // A claim must not give back by itself what came for a worker that has left: that is done here.
  const lasting = { ...call, signal: new AbortController().signal };
  let claims: StreamClaims | undefined;
  let underWay = 0;
  let end: { readonly error?: ConnectError } | undefined;
  let closed = false;

  function send(sending: Sending): void {
    outbox.push(sending);
    sendBell.ring();
  }

  function finish(result: { readonly error?: ConnectError }): void {
    end ??= result;
    ending.abort();
    sendBell.ring();
  }

  function deliver(run: ClaimAnswer): Promise<void> {
    if (closed) return giveBack(run.leaseToken ?? "");
    return new Promise((done) => {
      send({ answer: { response: { case: "run", value: run } }, leaseToken: run.leaseToken, done });
    });
  }

  async function giveBack(leaseToken: string): Promise<void> {
    const request = create(ReleaseRunRequestSchema, { leaseToken, reason: "the worker left before it got the run" });
    await engine.release(lasting, request).catch((error: unknown) => {
      log.warn({ err: error, correlation_id: call.correlationId }, "run could not be given back");
    });
  }

  function onWant({ request }: WorkRequest): void {
    const want = request.case === "want" ? request.value : undefined;
    if (want === undefined || (claims === undefined && want.claim === undefined)) throw notFirst();
    check(WorkWantSchema, want);
    claims ??= createStreamClaims({
      claim: (asked) => innerCall(EngineService.method.claimRun, asked, () => engine.claim(lasting, asked, giveUp)),
      request: want.claim ?? create(EngineService.method.claimRun.input),
      deliver,
      fail: (error) => finish({ error: toConnectError(error) }),
      giveUp,
      onIdle: sendBell.ring,
    });
    claims.want(want.runs);
  }

  async function answer(message: WorkRequest): Promise<void> {
    underWay++;
    const done = () => {
      underWay--;
      readBell.ring();
    };
    send({ answer: await innerAnswer(calls, serving, message), done });
  }

  async function read(): Promise<void> {
    for await (const message of requests) {
      if (claims === undefined || message.request.case === "want") {
        onWant(message);
        continue;
      }
      if (message.call === 0n) throw new SignalboxError("INVALID_REQUEST", "call: give each call a number, from 1");
      while (underWay >= maxCalls && !closed && !call.signal.aborted) await readBell.wait(call.signal);
      if (closed || call.signal.aborted) return;
      void answer(message);
    }
  }

  const onDraining = () => send({ answer: { response: { case: "draining", value: {} } }, done: () => {} });
  if (draining.aborted) onDraining();
  draining.addEventListener("abort", onDraining, { once: true });
  void read().then(
    () => finish({}),
    (error: unknown) => finish({ error: toConnectError(error) }),
  );
  try {
    while (!call.signal.aborted) {
      if (end?.error !== undefined) throw end.error;
      const [first] = outbox;
      if (first !== undefined) {
        yield first.answer;
        outbox.shift();
        first.done();
      } else {
        if (end !== undefined && underWay === 0 && claims?.idle() !== false) return;
        await sendBell.wait(call.signal);
      }
    }
  } finally {
    closed = true;
    draining.removeEventListener("abort", onDraining);
    ending.abort();
    readBell.ring();
    for (const { done, leaseToken } of outbox) {
      done();
      if (leaseToken !== undefined) await giveBack(leaseToken);
    }
  }
}

function notFirst(): SignalboxError {
  return new SignalboxError(
    "INVALID_REQUEST",
    "request: the first message of a Work stream is a want with a claim, which says what the worker can do",
  );
}
