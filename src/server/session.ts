import type { ServerHttp2Session } from "node:http2";
import type { EdgeLimits } from "./limits.ts";

/**
 * Looks after an HTTP/2 connection: destroys it when the peer leaves a ping unanswered, and closes it when it has been idle or
 * alive for too long. Closing sends GOAWAY and lets the open streams finish; a stream that the peer opens at that very
 * moment is refused, which HTTP/2 clients know to be safe to repeat.
 */
export function keepSession(session: ServerHttp2Session, limits: EdgeLimits): void {
  const bornMs = performance.now();
  let idleSinceMs = bornMs;
  let openStreams = 0;
  let pingUnanswered = false;
  let missed = 0;

  function look(): void {
    // A session that is closing can not ping; it ends with its streams, and those with their sockets.
    if (session.closed) return;
    if (pingUnanswered) {
      // Once may be our own fault: after a pause of this process its timers run before it reads what has arrived.
      if (++missed > 1) session.destroy();
      return;
    }
    missed = 0;
    const now = performance.now();
    const idle = openStreams === 0 && now - idleSinceMs >= limits.idleTimeoutMs;
    if (idle || now - bornMs >= limits.maxAgeMs) return session.close();
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
