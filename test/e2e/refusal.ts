import { type Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** Why a call was refused. */
export interface Refusal {
  readonly code: Code;
  /** Without the prefix of the code. */
  readonly message: string;
  /** From ErrorInfo; undefined when the answer carries none of Signalbox. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>> | undefined;
}

/** The refusal of a call. Throws when the call succeeds. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  const error = await call.then(
    (answer) => Promise.reject(new Error("the call was not refused", { cause: answer })),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) throw error;
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "signalbox");
  return { code: error.code, message: error.rawMessage, reason: info?.reason, metadata: info?.metadata };
}

/** The reason that a call was refused for. */
export async function reasonFor(call: Promise<unknown>): Promise<string | undefined> {
  return (await refusal(call)).reason;
}
