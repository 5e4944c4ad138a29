import type { DescMessage, DescMethodUnary, Message } from "@bufbuild/protobuf";
import { createContextKey, type HandlerContext } from "@connectrpc/connect";

/** Holds a message against the rules of the contract. Throws INVALID_REQUEST, which names the fields. */
export type Check = (schema: DescMessage, message: Message) => void;

/** Measures and logs what `serve` does as a call of `method`. Throws what a client may see of what it throws. */
export type Observe = <T>(method: DescMethodUnary, serve: () => Promise<T>) => Promise<T>;

/** What the validation leaves for streams that carry calls. */
export const checkKey = createContextKey<Check | undefined>(undefined, { description: "signalbox check" });

/** What the edge leaves for streams that carry calls. */
export const observeKey = createContextKey<Observe | undefined>(undefined, { description: "signalbox observe" });

/**
 * Serves a call that came inside a stream as if it had come alone: its request checked, its end measured and logged.
 * Throws ConnectErrors only, with no more in them than a client may see.
 */
export type InnerCall = <T>(method: DescMethodUnary, request: Message, serve: () => Promise<T>) => Promise<T>;

/** How the handler of a stream serves the calls inside it. */
export function innerCallOf({ values }: HandlerContext): { check: Check; innerCall: InnerCall } {
  const check = values.get(checkKey);
  const observe = values.get(observeKey);
  if (check === undefined || observe === undefined) throw new Error("the stream passed no validation");
  const innerCall: InnerCall = (method, request, serve) =>
    observe(method, async () => {
      check(method.input, request);
      return serve();
    });
  return { check, innerCall };
}
