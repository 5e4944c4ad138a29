import { Client, type PriorDiscovery, type Tool, type Transport } from "@modelcontextprotocol/client";
import { createBackoff, pause } from "../client/backoff.ts";
import type { ToolLog } from "./tool.ts";
import { ToolError } from "./tool-error.ts";

/** What a connection is made of. */
export interface McpConnectionOptions {
  /** What the server is called in errors. */
  readonly name: string;
  /** A new transport for each connection. */
  readonly createTransport: () => Transport;
  /** Told the tools of the server after each connect, and whenever the server says that they changed. */
  readonly onTools: (tools: readonly Tool[]) => void;
  readonly log: ToolLog;
  /** Milliseconds for each request of a connect, and for a sign of life. */
  readonly connectTimeoutMs: number;
  /** The first pause before a reconnect, in milliseconds; it doubles up to 30,000. */
  readonly restartDelayMs: number;
}

/** A connection to an MCP server that is made anew when it breaks. Disposing ends it, and the server that is a child. */
export interface McpConnection extends AsyncDisposable {
  /** Resolves when the first try to connect is over; rejects when it failed, though there will be others. */
  readonly first: Promise<void>;
  /**
   * The client, once connected; waits for that while the signal lasts, up to a connect time. Throws a ToolError
   * MCP_UNAVAILABLE, retryable, with why the last try failed.
   */
  client(signal: AbortSignal): Promise<Client>;
  /** Something was wrong with this client: connects anew unless the server gives a sign of life. */
  suspect(client: Client): void;
}

// A server that lives as long is no crash loop.
const steadyMs = 30_000;
const maxPages = 20;

/** Starts connecting. */
export function openMcpConnection(options: McpConnectionOptions): McpConnection {
  const { name, log, connectTimeoutMs, restartDelayMs } = options;
  const closing = new AbortController();
  const request = { signal: closing.signal, timeout: connectTimeoutMs };
  const backoff = createBackoff(restartDelayMs, Math.max(restartDelayMs, 30_000));
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => {});
  /** The client that is fine as far as we know; calls wait for it. */
  let serving = Promise.withResolvers<Client>();
  let current: Client | undefined;
  let prior: PriorDiscovery | undefined;
  let failure: unknown;

  function serve(client: Client): void {
    current = client;
    serving.resolve(client);
  }

  function withdraw(client: Client): void {
    if (current !== client) return;
    current = undefined;
    serving = Promise.withResolvers();
  }

  /** Connects once and stays until the connection ends. */
  async function session(): Promise<void> {
    const closed = Promise.withResolvers<void>();
    const client = createClient(options, closed.resolve, suspect);
    const transport = options.createTransport();
    closing.signal.addEventListener("abort", () => closed.resolve());
    try {
      const known = prior;
      prior = undefined;
      await client.connect(transport, known === undefined ? request : { ...request, prior: known });
      const discover = client.getDiscoverResult();
      prior = discover === undefined ? { kind: "legacy" } : { kind: "modern", discover };
      options.onTools(hasTools(client) ? (await client.listTools(undefined, request)).tools : []);
      log.info({ mcp_server: name }, "MCP server connected");
      const startMs = performance.now();
      serve(client);
      first.resolve();
      await closed.promise;
      if (performance.now() - startMs > steadyMs) backoff.reset();
      throw new Error("the connection ended");
    } finally {
      withdraw(client);
      await client.close();
      await transport.close();
    }
  }

  async function supervise(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await session();
      } catch (error) {
        if (closing.signal.aborted) break;
        failure = error;
        first.reject(unavailable());
        const delayMs = Math.round(backoff.next());
        log.warn({ err: error, mcp_server: name, delay_ms: delayMs }, "MCP server is away; will reconnect");
        await pause(delayMs, closing.signal);
      }
    }
    first.reject(unavailable());
  }

  function suspect(client: Client): void {
    if (current !== client) return;
    withdraw(client);
    // Every server answers this one, in all versions of the protocol. Asked without a connection, the library writes to
    // standard output and answers that there are none.
    const alive = hasTools(client)
      ? client.listTools(undefined, { ...request, cacheMode: "bypass" })
      : Promise.reject(new Error("the connection ended"));
    alive
      .then(() => (hasTools(client) ? serve(client) : undefined))
      .catch(() => client.close())
      .catch((err: unknown) => log.debug({ err, mcp_server: name }, "MCP connection could not be closed"));
  }

  function unavailable(): ToolError {
    const why = failure instanceof Error ? failure.message : "it has not answered yet";
    const message = `the MCP server ${name} is not available: ${why.slice(0, 1_000)}`;
    return new ToolError("MCP_UNAVAILABLE", message, { retryable: true, cause: failure });
  }

  const supervised = supervise();
  return {
    first: first.promise,
    suspect,
    async client(signal) {
      const waiting = new AbortController();
      const late = pause(connectTimeoutMs, AbortSignal.any([signal, closing.signal, waiting.signal]));
      try {
        return await Promise.race([serving.promise, late.then(() => Promise.reject(unavailable()))]);
      } finally {
        waiting.abort();
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await supervised;
    },
  };
}

function hasTools(client: Client): boolean {
  return client.getServerCapabilities()?.tools !== undefined;
}

function createClient(
  { name, onTools, log, connectTimeoutMs }: McpConnectionOptions,
  onclose: () => void,
  suspect: (client: Client) => void,
): Client {
  const client = new Client(
    { name: "signalbox", version: "1" },
    {
      versionNegotiation: { mode: "auto", probe: { timeoutMs: Math.min(connectTimeoutMs, 3_000) } },
      // There is nobody here to ask.
      inputRequired: { autoFulfill: false },
      listMaxPages: maxPages,
      listChanged: {
        tools: {
          onChanged(err, tools) {
            if (tools === null) log.warn({ err, mcp_server: name }, "the new tools of an MCP server can not be listed");
            else onTools(tools);
          },
        },
      },
    },
  );
  const onerror = (err: unknown) => {
    log.debug({ err, mcp_server: name }, "MCP connection had an error");
    suspect(client);
  };
  return Object.assign(client, { onclose, onerror });
}
