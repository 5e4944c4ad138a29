import { StreamableHTTPClientTransport, type Transport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import type { ToolLog } from "./tool.ts";

/** Where an MCP server is. */
export type McpServerPlace = McpCommand | McpAddress;

/** A server that is a program; it speaks over its standard input and output, and ends with the worker. */
export interface McpCommand {
  readonly command: string;
  readonly args?: readonly string[] | undefined;
  /** Its environment besides PATH, HOME, SHELL, TERM, USER and LOGNAME; it gets nothing else of ours. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Default the folder of the worker. */
  readonly cwd?: string | undefined;
}

/** A server behind an address, over streamable HTTP. */
export interface McpAddress {
  /** http or https. Redirects stay within its origin. */
  readonly url: string;
  /** Sent with every request, for example `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A transport that is not connected yet. No message of more than `maxMessageBytes` is taken. */
export function createTransport(place: McpServerPlace, maxMessageBytes: number, log: ToolLog): Transport {
  if ("command" in place) return stdioTransport(place, maxMessageBytes, log);
  const transport = new StreamableHTTPClientTransport(new URL(place.url), {
    requestInit: { headers: { ...place.headers } },
    fetch: async (url, init) => limitMessages(await fetch(url, init), maxMessageBytes, onTooLarge),
  });
  // What waits for the message would wait until its time is up.
  function onTooLarge(): void {
    transport.close().catch((err: unknown) => log.debug({ err }, "MCP connection could not be closed"));
  }
  return transport;
}

function stdioTransport({ command, args = [], env, cwd }: McpCommand, maxBufferSize: number, log: ToolLog): Transport {
  const transport = new StdioClientTransport({
    command,
    args: [...args],
    maxBufferSize,
    stderr: "pipe",
    ...(env === undefined ? {} : { env: { ...env } }),
    ...(cwd === undefined ? {} : { cwd }),
  });
  // Read whatever the level of the log, or the server would wait for room to write.
  transport.stderr?.on("data", (chunk: Buffer) => {
    log.debug({ text: chunk.subarray(0, 2_000).toString() }, "MCP server wrote to stderr");
  });
  return transport;
}

/** The response, broken off when a message in it is larger than `most`: the body, or an event of an event stream. */
function limitMessages(response: Response, most: number, onTooLarge: () => void): Response {
  if (response.body === null) return response;
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  let size = 0;
  const limit = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      // An empty line ends an event; where in the chunk it stands makes no difference that matters.
      size = isStream && hasEmptyLine(chunk) ? chunk.length : size + chunk.length;
      if (size <= most) return controller.enqueue(chunk);
      controller.error(new Error(`the MCP server sent a message of more than ${most} bytes`));
      onTooLarge();
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(limit), { status, statusText, headers });
}

function hasEmptyLine(chunk: Uint8Array): boolean {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return bytes.includes("\n\n") || bytes.includes("\r\n\r\n");
}
