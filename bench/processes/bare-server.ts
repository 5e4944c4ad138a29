import { create, fromBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  EventService,
  type SubscribeResponse,
  SubscribeReadySchema,
  SubscribeResponseSchema,
} from "../../gen/signalbox/v1/event_service_pb.ts";
import { CreateRunResponseSchema, RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { answerQuestions } from "../support/answer.ts";
import { measureMemory } from "../support/memory.ts";

const resources = new AsyncDisposableStack();

/** The same message so many times, for every open stream to send. */
interface Burst {
  readonly message: SubscribeResponse;
  readonly count: number;
}

let nextBurst = Promise.withResolvers<Burst>();

/** Sends each burst as fast as the reader takes it. */
async function* subscribe(signal: AbortSignal): AsyncGenerator<SubscribeResponse> {
  const over = Promise.withResolvers<undefined>();
  signal.addEventListener("abort", () => over.resolve(undefined), { once: true });
  yield create(SubscribeResponseSchema, { frame: { case: "ready", value: create(SubscribeReadySchema) } });
  for (;;) {
    const burst = await Promise.race([nextBurst.promise, over.promise]);
    if (burst === undefined) return;
    for (let sent = 0; sent < burst.count && !signal.aborted; sent++) yield burst.message;
  }
}

/** A frame of an event that is encoded already: what is left for Connect to do is the least that it can do. */
function eventFrame(event: Uint8Array): SubscribeResponse {
  const message = create(SubscribeResponseSchema);
  const data = new BinaryWriter().bytes(event).finish();
  message.$unknown = [{ no: SubscribeResponseSchema.field.event.number, wireType: WireType.LengthDelimited, data }];
  return message;
}

const functions = {
  /** Serves on a free port of 127.0.0.1 until the process ends; CreateRun answers `createRunResponse`. Returns the URL. */
  async open(createRunResponse: Uint8Array): Promise<string> {
    const response = fromBinary(CreateRunResponseSchema, createRunResponse);
    const server = createServer(
      connectNodeAdapter({
        routes(router) {
          router.rpc(RunService.method.createRun, () => response);
          router.rpc(EventService.method.subscribe, (_request, { signal }) => subscribe(signal));
        },
      }),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    resources.defer(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
  /** Has every open stream send the event, given in binary form, so many times. */
  send({ event, count }: { event: Uint8Array; count: number }): void {
    const now = nextBurst;
    nextBurst = Promise.withResolvers();
    now.resolve({ message: eventFrame(event), count });
  },
  measureMemory,
};

/** Connect alone, without interceptors, in a process of its own. */
export type BareServerProcess = typeof functions;

answerQuestions(functions, resources);
