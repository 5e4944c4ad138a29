import { create, type Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { callKey } from "../kernel/call.ts";
import { toConnectError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";
import { correlationIdOf, identityOf } from "../server/identity.ts";

/** What surrounds each call of a test: everybody is the user `test` or who they say, and errors look as they do from a server. */
export function createTestEdge(ids: IdSource): Interceptor {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "test" });
  return (next) => async (request) => {
    try {
      const correlationId = correlationIdOf(request.header, ids);
      request.contextValues.set(callKey, identityOf(request.header, { principal, proven: false }, correlationId));
      const response = await next(request);
      return response.stream ? { ...response, message: withErrors(response.message) } : response;
    } catch (error) {
      throw toConnectError(error);
    }
  };
}

async function* withErrors(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw toConnectError(error);
  }
}
