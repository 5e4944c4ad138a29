import { constants } from "node:http2";
import type { EdgeResponse } from "./request.ts";

/** How sending ended: all of it, the reader left, or it took nothing for too long and was dropped. */
export type Sent = "sent" | "left" | "stalled";

/**
 * Sends the bytes as fast as they are read, and ends the answer; a reader who takes nothing for `readerTimeoutMs` is dropped.
 * However it ends, the source is closed. Throws what the source throws, with the answer cut off.
 */
export async function sendBody(
  response: EdgeResponse,
  bytes: AsyncIterable<Uint8Array>,
  readerTimeoutMs: number,
): Promise<Sent> {
  try {
    for await (const piece of bytes) {
      if (isClosed(response)) return "left";
      if (write(response, piece)) continue;
      const taken = await taking(response, "drain", readerTimeoutMs);
      if (taken !== "taken") return dropped(response, taken);
    }
  } catch (error) {
    cut(response);
    throw error;
  }
  if (isClosed(response)) return "left";
  const finished = taking(response, "finish", readerTimeoutMs);
  response.end();
  const taken = await finished;
  return taken === "taken" ? "sent" : dropped(response, taken);
}

function dropped(response: EdgeResponse, why: "left" | "stalled"): Sent {
  if (why === "stalled") cut(response);
  return why;
}

/** False when the reader has to take some of it first. */
function write(response: EdgeResponse, piece: Uint8Array): boolean {
  // The two take the same, each with types of its own.
  return "stream" in response ? response.write(piece) : response.write(piece);
}

/** Waits until the reader has taken what was written. */
function taking(
  response: EdgeResponse,
  event: "drain" | "finish",
  timeoutMs: number,
): Promise<"taken" | "left" | "stalled"> {
  const { promise, resolve } = Promise.withResolvers<"taken" | "left" | "stalled">();
  const onTaken = () => resolve("taken");
  const onClose = () => resolve("left");
  const timer = setTimeout(() => resolve("stalled"), timeoutMs);
  response.on(event, onTaken);
  response.on("close", onClose);
  return promise.finally(() => {
    clearTimeout(timer);
    response.off(event, onTaken);
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
