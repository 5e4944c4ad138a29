import { constants } from "node:http2";
import { release } from "../kernel/release.ts";
import type { EdgeResponse } from "./request.ts";

/** How sending ended: all of it, the reader left, or it took nothing for too long and was dropped. */
export type Sent = "sent" | "left" | "stalled";

/**
 * Sends the bytes as fast as they are read, and ends the answer; a reader who takes nothing for `readerTimeoutMs` is dropped.
 * However it ends, the source is closed. Throws what the source throws, with the answer cut off. The pieces are its own: the memory
 * of each is given back once it is sent.
 */
export async function sendBody(
  response: EdgeResponse,
  bytes: AsyncIterable<Uint8Array>,
  readerTimeoutMs: number,
): Promise<Sent> {
  try {
    for await (const piece of bytes) {
      if (isClosed(response)) return "left";
      const taken = await taking(response, readerTimeoutMs, (onTaken) => write(response, piece, onTaken));
      if (taken !== "taken") return dropped(response, taken);
      release(piece);
    }
  } catch (error) {
    cut(response);
    throw error;
  }
  if (isClosed(response)) return "left";
  const taken = await taking(response, readerTimeoutMs, (onTaken) => void response.end(onTaken));
  return taken === "taken" ? "sent" : dropped(response, taken);
}

function dropped(response: EdgeResponse, why: "left" | "stalled"): Sent {
  if (why === "stalled") cut(response);
  return why;
}

/** Calls `onSent` when the network has the bytes, and not when they could not be sent: they may be on their way still, and the answer closes. */
function write(response: EdgeResponse, piece: Uint8Array, onSent: () => void): void {
  const done = (error?: Error | null) => {
    if (error === undefined || error === null) onSent();
  };
  // The two take the same, each with types of its own.
  if ("stream" in response) response.write(piece, done);
  else response.write(piece, done);
}

/** Sends something, and waits until the reader has taken it. */
function taking(
  response: EdgeResponse,
  timeoutMs: number,
  send: (onTaken: () => void) => void,
): Promise<"taken" | "left" | "stalled"> {
  const { promise, resolve } = Promise.withResolvers<"taken" | "left" | "stalled">();
  const onClose = () => resolve("left");
  const timer = setTimeout(() => resolve("stalled"), timeoutMs);
  response.on("close", onClose);
  send(() => resolve("taken"));
  return promise.finally(() => {
    clearTimeout(timer);
    response.off("close", onClose);
  });
}

/** Ends the answer so that nobody takes what came for the whole. */
function cut(response: EdgeResponse): void {
  if ("stream" in response) response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  else response.destroy();
}

function isClosed(response: EdgeResponse): boolean {
  return "stream" in response ? response.stream.destroyed || response.stream.closed : response.destroyed;
}
