import type { MessageInitShape } from "@bufbuild/protobuf";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import {
  EngineService,
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponseSchema,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { errorDomain, SignalboxError, toConnectError } from "../kernel/errors.ts";
import type { Check, InnerCall } from "../kernel/inner-call.ts";
import type { EngineCalls } from "./engine-calls.ts";

/** What the server sends on a Work stream. */
export type WorkAnswer = MessageInitShape<typeof WorkResponseSchema>;

/** How calls that came on a Work stream are served. */
export interface Serving {
  readonly call: Call;
  readonly check: Check;
  readonly innerCall: InnerCall;
}

/** The answer to a call of a Work stream, under its number. Never rejects: what a single call would throw is a WorkError. */
export async function innerAnswer(calls: EngineCalls, serving: Serving, message: WorkRequest): Promise<WorkAnswer> {
  const response = await serve(calls, serving, message).catch(workError);
  return { call: message.call, response };
}

async function serve(
  calls: EngineCalls,
  { call, check, innerCall }: Serving,
  message: WorkRequest,
): Promise<WorkAnswer["response"]> {
  const { case: name, value } = message.request;
  if (name === undefined || name === "want") {
    // What came as a kind of call that this server does not know comes without one.
    check(WorkRequestSchema, message);
    throw new SignalboxError("INVALID_REQUEST", "a want has no answer");
  }
  // The table has a function for the request of each name; the compiler can not tie the two together.
  const own = calls[name] as (call: Call, request: typeof value) => Promise<object>;
  const answer = await innerCall(EngineService.method[name], value, () => own(call, value));
  return { case: name, value: answer };
}

function workError(thrown: unknown): WorkAnswer["response"] {
  const error = toConnectError(thrown);
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === errorDomain);
  const { reason = "", metadata = {} } = info ?? {};
  return { case: "error", value: { code: error.code, message: error.rawMessage, reason, metadata } };
}
