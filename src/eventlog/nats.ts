import { jetstream, type JetStreamClient, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "pino";
import { SignalboxError } from "../kernel/errors.ts";

/** How long one request to the broker may take. */
export const requestTimeoutMs = 3_000;
/** Older servers silently ignore settings that the log relies on. */
const minimumVersion = [2, 11] as const;

/** An open connection to NATS with JetStream. Disposing it drains and closes. */
export interface Nats extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

/** Where NATS is. */
export interface NatsOptions {
  /** One or more `nats://` or `tls://` addresses with commas between; credentials as user info. */
  readonly url: string;
  /** Shown in the broker's list of connections. */
  readonly name: string;
  readonly log: Logger;
}

/**
 * Connects, and reconnects for ever after. STORE_UNAVAILABLE when nobody answers at first, when the server is too old or
 * has no JetStream.
 */
export async function openNats({ url, name, log }: NatsOptions): Promise<Nats> {
  const connection = await connect({
    ...parseUrl(url),
    name,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    // Two stack traces for every request, in case it fails: 7 of its 29 µs.
    noAsyncTraces: true,
  }).catch((error: unknown) => {
    throw new SignalboxError(
      "STORE_UNAVAILABLE",
      "cannot connect to NATS; check that the server runs and that NATS_URL is right",
      {},
      error,
    );
  });
  void watch(connection, log);
  try {
    requireVersion(connection);
    const jsm = await jetstreamManager(connection, { timeout: requestTimeoutMs }).catch((error: unknown) => {
      throw new SignalboxError(
        "STORE_UNAVAILABLE",
        "the NATS server has no JetStream; start it with `-js` or a `jetstream {}` block",
        {},
        error,
      );
    });
    return {
      connection,
      jsm,
      js: jetstream(connection, { timeout: requestTimeoutMs }),
      [Symbol.asyncDispose]: () => closeConnection(connection),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function closeConnection(connection: NatsConnection): Promise<void> {
  if (connection.isClosed()) return;
  // A drain needs the server; when that is gone there is nothing to flush.
  await connection.drain().catch(() => connection.close());
}

async function watch(connection: NatsConnection, log: Logger): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === "disconnect") log.warn("nats disconnected");
    if (status.type === "reconnect") log.info("nats reconnected");
    if (status.type === "error") log.warn({ err: status.error }, "nats error");
  }
}

/**
 * Calls `reconnected` after every reconnect, until disposed: what the broker kept in memory for us, consumers for example,
 * may be gone.
 */
export function onReconnect({ connection }: Nats, reconnected: () => void): Disposable {
  const statuses = connection.status();
  let listening = true;
  void (async () => {
    for await (const { type } of statuses) {
      if (!listening) return;
      if (type === "reconnect") reconnected();
    }
  })();
  return {
    [Symbol.dispose]: () => {
      listening = false;
    },
  };
}

/** Credentials in the address: the client library wants them apart. */
function parseUrl(url: string) {
  const addresses = url.split(",").map((address) => new URL(address.includes("://") ? address : `nats://${address}`));
  const first = addresses[0];
  return {
    servers: addresses.map((address) => `${address.protocol}//${address.host}`),
    ...(first?.password ? { user: decodeURIComponent(first.username), pass: decodeURIComponent(first.password) } : {}),
    ...(first?.username && !first.password ? { token: decodeURIComponent(first.username) } : {}),
  };
}

function requireVersion(connection: NatsConnection): void {
  const version = connection.info?.version ?? "0.0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > minimumVersion[0] || (major === minimumVersion[0] && minor >= minimumVersion[1])) return;
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    `the NATS server is version ${version}, but ${minimumVersion.join(".")} or newer is needed; upgrade it`,
  );
}
