import { constants, type ServerHttp2Session } from "node:http2";
import type { EdgeLimits } from "./limits.ts";

// The largest stream id: a GOAWAY that still takes every stream that the peer has begun (RFC 9113, 6.8).
const maxStreamId = 2 ** 31 - 1;

/**
 * Ends an HTTP/2 connection without losing a call: asks the peer to open no more streams, and once it must have seen that,
 * closes the session, which lets the open streams finish.
 */
export function retireSession(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  session.goaway(constants.NGHTTP2_NO_ERROR, maxStreamId);
  // A ping that can not be sent has no answer to wait for.
  if (!session.ping(() => session.close())) session.close();
}

/**
 * Looks after an HTTP/2 connection: destroys it when the peer does not answer pings, retires it when it has been idle or
 * alive for too long.
 */
export function keepSession(session: ServerHttp2Session, limits: EdgeLimits): void {
  const bornMs = performance.now();
  let idleSinceMs = bornMs;
  let openStreams = 0;
  let pingUnanswered = false;
  let retired = false;

  function look(): void {
    if (pingUnanswered) return session.destroy();
    const now = performance.now();
    const idle = openStreams === 0 && now - idleSinceMs >= limits.idleTimeoutMs;
    if (!retired && (idle || now - bornMs >= limits.maxAgeMs)) {
      retired = true;
      retireSession(session);
    }
    // A session that is closing sends no pings; its streams end with their sockets, which TCP's keep-alive looks after.
    if (session.closed || session.destroyed) return;
    pingUnanswered = session.ping(() => {
      pingUnanswered = false;
    });
  }

  const timer = setInterval(look, limits.pingIntervalMs);
  session.once("close", () => clearInterval(timer));
  session.on("stream", (stream) => {
    openStreams++;
    stream.once("close", () => {
      openStreams--;
      idleSinceMs = performance.now();
    });
  });
}
