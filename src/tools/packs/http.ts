import { isIP, type LookupFunction } from "node:net";
import type { Agent, Dispatcher } from "undici";
import { z } from "zod";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "../define-tool.ts";
import type { ToolPack } from "../tool.ts";
import { ToolError } from "../tool-error.ts";
import {
  allowedAddresses,
  type HostRule,
  type Network,
  parseHostRule,
  publicNetwork,
  requireAllowedUrl,
} from "./egress.ts";
import { acceptedEncodings, readBody, textOf } from "./http-body.ts";

/** What may be fetched. */
export interface HttpOptions {
  /** Hosts as parseHostRule reads them, default none, so that everything is denied. */
  readonly allowHosts?: readonly string[] | undefined;
  /** The most bytes of a body, default 256 KiB; more is cut off. */
  readonly maxBodyBytes?: number | undefined;
  /** Milliseconds for all of it, redirects included, default 20,000. */
  readonly timeoutMs?: number | undefined;
}

const maxRedirects = 5;
const maxHeaderBytes = 16 * 1024;
const sentHeaders = ["accept", "accept-language", "if-modified-since", "if-none-match"] as const;
const shownHeaders = [
  "content-language",
  "content-type",
  "date",
  "etag",
  "last-modified",
  "link",
  "retry-after",
] as const;

const input = z.object({
  url: z.string().min(1).max(2_000).describe("An https URL of a host that is allowed"),
  method: z.enum(["GET", "HEAD"]).default("GET"),
  headers: z
    // No line breaks, no control characters.
    .strictObject(Object.fromEntries(sentHeaders.map((name) => [name, headerValue()])))
    .default({})
    .describe(`Request headers: ${sentHeaders.join(", ")}`),
});

/**
 * `http.fetch`: reads a page of a public host that is allowed. The address is checked for each request, after redirects
 * too, and the connection goes to the very address that was checked. `network` is for tests.
 * Throws a TypeError for a host that is none.
 */
export function httpPack(options: HttpOptions = {}, network: Network = publicNetwork): ToolPack {
  const { allowHosts = [], maxBodyBytes = 256 * 1024, timeoutMs = 20_000 } = options;
  const rules = allowHosts.map(parseHostRule);
  const fetchTool = defineTool({
    name: "http.fetch",
    description: `Fetches a web page or file. Answers {url, status, headers, body} with up to ${maxBodyBytes} bytes of the body as text, or bodyBase64 for what is no text, and truncated when there was more.`,
    effect: ToolEffect.READ,
    timeoutMs,
    maxResultBytes: Math.min(6 * maxBodyBytes + 50_000, 4 * 1024 * 1024),
    input,
    target: ({ url }) => url,
    async run({ url, method, headers }, { signal }) {
      const asked: Asked = { method, headers: { ...headers, "accept-encoding": acceptedEncodings } };
      return follow({ rules, network, maxBodyBytes }, url, asked, signal);
    },
  });
  return { name: "http.fetch", tools: [fetchTool] };
}

interface Limits {
  readonly rules: readonly HostRule[];
  readonly network: Network;
  readonly maxBodyBytes: number;
}

interface Asked {
  readonly method: "GET" | "HEAD";
  readonly headers: Record<string, string>;
}

interface Fetched {
  readonly url: string;
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly truncated: boolean;
}

async function follow(limits: Limits, first: string, asked: Asked, signal: AbortSignal): Promise<Fetched> {
  let url = parseUrl(first);
  let text = first;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    requireAllowedUrl(url, text, limits.rules);
    const answer = await fetchOnce(limits, url, asked, signal);
    if (typeof answer !== "string") return answer;
    const next = parseUrl(answer, url);
    if (url.protocol === "https:" && next.protocol === "http:") {
      throw new ToolError("EGRESS_DENIED", `${url.host} redirects from https to http, which is not followed`);
    }
    // A relative redirect names no host, so that of the page it comes from counts as written.
    text = URL.canParse(answer) || answer.startsWith("//") ? answer : next.href;
    url = next;
  }
  throw new ToolError("FETCH_FAILED", `${first} redirects more than ${maxRedirects} times`);
}

/** What the server answers; a string when that is where to go instead. */
async function fetchOnce(limits: Limits, url: URL, asked: Asked, signal: AbortSignal): Promise<Fetched | string> {
  const addresses = await orAborted(allowedAddresses(url.hostname, limits.network), signal);
  // Loaded with the first request that may be made; most workers make none.
  const undici = await import("undici");
  const agent = pinnedAgent(undici.Agent, addresses);
  try {
    const response = await undici.request(url, { ...asked, dispatcher: agent, signal });
    const location = one(response.headers["location"]);
    if (location !== undefined && [301, 302, 303, 307, 308].includes(response.statusCode)) return location;
    return await fetched(url, response, limits.maxBodyBytes);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ToolError) throw error;
    throw new ToolError("FETCH_FAILED", `${url.host} can not be read: ${messageOf(error)}`, {
      retryable: true,
      cause: error,
    });
  } finally {
    // Not close(): it waits for what is left of a body.
    await agent.destroy();
  }
}

/** Opens connections to these addresses only, whatever the name would resolve to now; TLS still asks for the name. */
function pinnedAgent(AgentClass: typeof Agent, addresses: readonly string[]): Agent {
  const pinned = addresses.map((address) => ({ address, family: isIP(address) }));
  const lookup: LookupFunction = (_hostname, { all }, callback) => {
    const [{ address, family } = { address: "", family: 0 }] = pinned;
    if (all === true) callback(null, pinned);
    else callback(null, address, family);
  };
  return new AgentClass({ allowH2: false, maxHeaderSize: maxHeaderBytes, connect: { allowH2: false, lookup } });
}

async function fetched(url: URL, response: Dispatcher.ResponseData, maxBodyBytes: number): Promise<Fetched> {
  const { statusCode, headers } = response;
  const { bytes, truncated } = await readBody(response.body, one(headers["content-encoding"]), maxBodyBytes);
  const text = textOf(bytes, one(headers["content-type"]) ?? "");
  const shown = shownHeaders.flatMap((name) => {
    const value = one(headers[name]);
    return value === undefined ? [] : [[name, value.slice(0, 1_000).toWellFormed()] as const];
  });
  const content =
    bytes.length === 0 || text !== undefined ? { body: text ?? "" } : { bodyBase64: bytes.toString("base64") };
  return { url: url.href, status: statusCode, headers: Object.fromEntries(shown), ...content, truncated };
}

/** What the promise resolves to, unless the signal aborts first: resolving a name can not be called off. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, over]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base);
  if (url !== null) return url;
  throw new ToolError("TOOL_ARGUMENTS_INVALID", `${JSON.stringify(text.slice(0, 200))} is no URL`);
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

function headerValue() {
  return z
    .string()
    .max(500)
    .regex(/^[\x20-\x7e]*$/)
    .optional();
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return "it failed";
  const { cause } = error;
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message;
}
