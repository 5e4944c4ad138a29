/** What one peer may take from the edge. Times in milliseconds. */
export interface EdgeLimits {
  /** Open connections of all peers; further ones are closed at once. */
  readonly maxConnections: number;
  /** How long a new connection may take to send enough to tell HTTP/1.1 from HTTP/2. */
  readonly firstBytesTimeoutMs: number;
  /** HTTP/1.1: how long the header may take. */
  readonly headersTimeoutMs: number;
  /** HTTP/1.1: how long header and body together may take. Says nothing about how long the answer takes. */
  readonly requestTimeoutMs: number;
  /** HTTP/1.1: how long a connection may stay without a request. */
  readonly keepAliveTimeoutMs: number;
  /** HTTP/1.1: how often the three times above are looked at. */
  readonly timeoutCheckIntervalMs: number;
  /** The size of a request's header, for both protocols, in bytes. */
  readonly maxHeaderBytes: number;
  /** The number of fields in a request's header, for both protocols. */
  readonly maxHeaderFields: number;
  /** How long a reader of an artifact may take none of its bytes. */
  readonly readerTimeoutMs: number;
  /** HTTP/2: streams open at the same time on one connection. */
  readonly maxConcurrentStreams: number;
  /** HTTP/2: invalid frames after which a connection is closed. */
  readonly maxInvalidFrames: number;
  /** HTTP/2: streams refused at creation after which a connection is closed. */
  readonly maxRejectedStreams: number;
  /** HTTP/2: streams that a peer may reset in a burst (CVE-2023-44487). */
  readonly streamResetBurst: number;
  /** HTTP/2: streams that a peer may reset per second once the burst is used up. */
  readonly streamResetRate: number;
  /** HTTP/2: pause between pings; a peer that leaves one unanswered for two such pauses is gone. */
  readonly pingIntervalMs: number;
  /** HTTP/2: how long a connection may stay without a stream. */
  readonly idleTimeoutMs: number;
  /** HTTP/2: age at which a connection takes no new streams, so that clients spread over the servers again. */
  readonly maxAgeMs: number;
}

/** The limits of every server. */
export const defaultLimits: EdgeLimits = {
  maxConnections: 10_000,
  firstBytesTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  keepAliveTimeoutMs: 60_000,
  timeoutCheckIntervalMs: 5_000,
  maxHeaderBytes: 16 * 1024,
  maxHeaderFields: 100,
  readerTimeoutMs: 60_000,
  maxConcurrentStreams: 100,
  maxInvalidFrames: 100,
  maxRejectedStreams: 100,
  streamResetBurst: 1_000,
  streamResetRate: 33,
  pingIntervalMs: 30_000,
  idleTimeoutMs: 15 * 60_000,
  maxAgeMs: 60 * 60_000,
};

/** The longest deadline that a call may ask for; a longer one is refused. Calls without a deadline have none. */
export const maxTimeoutMs = 10 * 60_000;
