import type { Socket } from "node:net";

/** What a peer speaks. */
export type Protocol = "http1" | "http2";

// How an HTTP/2 connection begins (RFC 9113, 3.4). No HTTP/1 method begins with these three bytes: PRI is reserved for this.
const preface = Buffer.from("PRI");

/**
 * Calls `found`, once, as soon as the first bytes of a connection tell what its peer speaks; they are put back for whoever
 * reads the socket then. Destroys the socket when they have not come within `timeoutMs`.
 */
export function sniff(socket: Socket, timeoutMs: number, found: (protocol: Protocol) => void): void {
  let head: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  socket.on("readable", look);
  socket.once("close", () => clearTimeout(timer));

  function look(): void {
    for (let chunk = read(socket); chunk !== null; chunk = read(socket)) {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const protocol = protocolOf(head);
      if (protocol === undefined) continue;
      clearTimeout(timer);
      socket.off("readable", look);
      socket.unshift(head);
      found(protocol);
      return;
    }
  }
}

function read(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}

function protocolOf(head: Buffer): Protocol | undefined {
  const length = Math.min(head.length, preface.length);
  if (head.compare(preface, 0, length, 0, length) !== 0) return "http1";
  return length === preface.length ? "http2" : undefined;
}
