import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type HandlerContext,
} from "@connectrpc/connect";
import { createSignalboxClient, type SignalboxClient } from "../../src/client/client.ts";
import { RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import {
  EventService,
  type SubscribeRequest,
  SubscribeResponseSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";

/** What a fake subscription does next: an event or a heartbeat at a position, output, a break, silence, or a deed. */
export type Move =
  | { readonly event: bigint }
  | { readonly delta: MessageInitShape<typeof RunDeltaSchema> }
  | { readonly heartbeat: bigint }
  | { readonly fail: ConnectError }
  | { readonly silence: true }
  | { readonly call: () => unknown };

/** A fake EventService whose subscriptions are told what to do, one list of moves per connection. */
export interface FakeEvents {
  readonly client: SignalboxClient;
  /** The requests so far. */
  readonly requests: SubscribeRequest[];
  /** The signals of their calls, as the server sees them. */
  readonly signals: AbortSignal[];
  /** Serves it over a network. */
  readonly routes: (router: ConnectRouter) => void;
}

/** Creates one; `movesOf` says what the n-th connection, from 0, does. It ends normally after the last move. */
export function fakeEvents(movesOf: (request: SubscribeRequest, connection: number) => Iterable<Move>): FakeEvents {
  const requests: SubscribeRequest[] = [];
  const signals: AbortSignal[] = [];
  async function* subscribe(request: SubscribeRequest, context: HandlerContext) {
    requests.push(request);
    signals.push(context.signal);
    yield frame({ frame: { case: "ready", value: { headPosition: 0n } } });
    for (const move of movesOf(request, requests.length - 1)) {
      if ("event" in move) yield frame({ frame: { case: "event", value: { position: move.event } } });
      if ("delta" in move) yield frame({ frame: { case: "delta", value: create(RunDeltaSchema, move.delta) } });
      if ("heartbeat" in move) yield frame({ frame: { case: "heartbeat", value: { headPosition: move.heartbeat } } });
      if ("fail" in move) throw move.fail;
      if ("call" in move) await move.call();
      if ("silence" in move) await until(context.signal);
    }
  }
  const routes = (router: ConnectRouter) => void router.service(EventService, { subscribe });
  const transport = createRouterTransport(routes);
  return { client: createSignalboxClient({ transport }), requests, signals, routes };
}

/** What a broken connection looks like. */
export function broken(code: Code = Code.Unavailable): ConnectError {
  return new ConnectError("the connection broke", code);
}

function frame(init: MessageInitShape<typeof SubscribeResponseSchema>) {
  return create(SubscribeResponseSchema, init);
}

function until(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new ConnectError("the reader left", Code.Canceled)), { once: true });
  });
}
