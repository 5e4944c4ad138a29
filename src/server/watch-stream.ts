import { Code, type ConnectError } from "@connectrpc/connect";

/** Who watches a stream. */
export interface StreamWatcher {
  /** The call's signal: a stream that just stops once it is aborted has not ended well. */
  readonly signal: AbortSignal;
  /** The error to hand on instead of the one that the stream threw, or that its signal was aborted with. */
  failed(error: unknown): ConnectError;
  /** The stream has ended, once: no code for success, CANCELED when its reader left. */
  ended(code: Code | undefined): void;
}

/** The same messages, watched. An iterator by hand: a generator in between would cost each message two more turns. */
export function watchStream<T>(messages: AsyncIterable<T>, watcher: StreamWatcher): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => watchIterator(messages[Symbol.asyncIterator](), watcher) };
}

function watchIterator<T>(source: AsyncIterator<T>, watcher: StreamWatcher): AsyncIterator<T> {
  let open = true;
  function end(code: Code | undefined): void {
    if (open) watcher.ended(code);
    open = false;
  }
  function fail(error: unknown): never {
    const answer = watcher.failed(error);
    end(answer.code);
    throw answer;
  }
  function taken(result: IteratorResult<T>): IteratorResult<T> {
    if (result.done !== true) return result;
    if (watcher.signal.aborted) fail(watcher.signal.reason);
    end(undefined);
    return result;
  }
  return {
    next: () => source.next().then(taken, fail),
    async return(value?: unknown) {
      end(Code.Canceled);
      return (await source.return?.(value)) ?? { done: true, value };
    },
    async throw(error?: unknown) {
      end(Code.Canceled);
      if (source.throw !== undefined) return source.throw(error);
      await source.return?.();
      throw error;
    },
  };
}
