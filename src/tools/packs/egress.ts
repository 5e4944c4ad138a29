import { lookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";
import { ToolError } from "../tool-error.ts";

/** How names become addresses and which of these may be called. Only tests have a reason to give another one. */
export interface Network {
  /** Every address of a host name, at least one, as text. Rejects when there is none. */
  resolve(hostname: string): Promise<readonly string[]>;
  /** Whether a connection to this address may be opened. */
  isAllowed(address: string): boolean;
}

/** The network of this machine, public addresses only. */
export const publicNetwork: Network = {
  async resolve(hostname) {
    const answers = await lookup(hostname, { all: true, verbatim: true });
    return answers.map(({ address }) => address);
  },
  isAllowed: isPublicAddress,
};

// All that is given out of IPv6 so far (RFC 4291, IANA); what lies outside may mean anything one day.
const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * True for an address that the whole Internet shares: not private, loopback, link-local, shared by carriers, multicast,
 * documentation or reserved, and no IPv6 address with an IPv4 address inside (mapped, NAT64, 6to4, Teredo).
 */
export function isPublicAddress(address: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return ipaddr.IPv4.parse(address).range() === "unicast";
  if (!ipaddr.IPv6.isValid(address)) return false;
  const parsed = ipaddr.IPv6.parse(address);
  return parsed.range() === "unicast" && parsed.match(globalUnicast);
}

/** Where requests may go. */
export interface HostRule {
  readonly protocol: "https:" | "http:";
  /** A host name, or what it must end with, from the dot on; empty for any. */
  readonly host: string;
  readonly match: "same" | "below" | "any";
  /** As URL has it: empty for the one that belongs to the protocol. */
  readonly port: string;
}

/**
 * The rule of an entry of an allowlist: `api.example.com`, `*.example.com` for every name below it, `*` for every public
 * host; https unless it begins with `http://`, the usual port unless one follows. Throws a TypeError for anything else.
 */
export function parseHostRule(entry: string): HostRule {
  const [, scheme, star, host = "", port] =
    /^(?:(https?):\/\/)?(?:(\*)(?:\.(?=[^:])|(?=:|$)))?([^\s/?#@*]*?)(?::(\d{1,5}))?$/i.exec(entry) ?? [];
  const protocol = scheme?.toLowerCase() === "http" ? "http:" : "https:";
  const url = URL.parse(`${protocol}//${host === "" ? "any" : host}${port === undefined ? "" : `:${port}`}`);
  if (url === null || (host === "" && star === undefined) || url.hostname.endsWith(".")) throw badRule(entry);
  const match = star === undefined ? "same" : host === "" ? "any" : "below";
  return { protocol, match, host: match === "any" ? "" : url.hostname, port: url.port };
}

/**
 * Throws a ToolError EGRESS_DENIED unless a rule allows the address. `text` is the URL as it was given: an IP address in
 * any but its usual notation is refused, as it means to look like something else.
 */
export function requireAllowedUrl(url: URL, text: string, rules: readonly HostRule[]): void {
  const { protocol, hostname, host } = url;
  if (protocol !== "https:" && protocol !== "http:") throw denied(`${protocol} is not fetched, only https`);
  if (url.username !== "" || url.password !== "") throw denied("a URL with a user name or password is not fetched");
  if (ipaddr.isValid(bare(hostname)) && !text.toLowerCase().includes(hostname)) {
    throw denied("an IP address is only taken in its usual notation");
  }
  if (rules.some((rule) => isMatch(rule, url))) return;
  const origin = protocol === "https:" ? host : `http://${host}`;
  const way = rules.length === 0 ? "no host is allowed yet" : "it is not among the hosts that are allowed";
  throw denied(`${origin} may not be called: ${way}. The operator of the worker lists hosts in allowHosts`);
}

/**
 * The addresses to connect to for a host: resolved once, so that a second answer can not differ from the one that was
 * checked. Throws a ToolError: EGRESS_DENIED when any of them is not allowed, FETCH_FAILED when there is none.
 */
export async function allowedAddresses(hostname: string, network: Network): Promise<readonly string[]> {
  const literal = bare(hostname);
  const addresses = ipaddr.isValid(literal) ? [literal] : await resolved(hostname, network);
  if (addresses.every((address) => network.isAllowed(address))) return addresses;
  throw denied(`${hostname} does not have a public address`);
}

async function resolved(hostname: string, network: Network): Promise<readonly string[]> {
  try {
    const addresses = await network.resolve(hostname);
    if (addresses.length > 0) return addresses;
  } catch (error) {
    throw noAddress(hostname, error);
  }
  throw noAddress(hostname);
}

function isMatch({ protocol, match, host, port }: HostRule, url: URL): boolean {
  if (url.protocol !== protocol || url.port !== port) return false;
  switch (match) {
    case "any":
      return true;
    case "same":
      return url.hostname === host;
    case "below":
      return url.hostname.endsWith(`.${host}`);
  }
}

/** An IPv6 address without the brackets that it has in a URL. */
function bare(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

function badRule(entry: string): TypeError {
  const ways =
    "give a host such as api.example.com, *.example.com or *, with http:// before or :8443 behind it if need be";
  return new TypeError(`${JSON.stringify(entry)} is no host: ${ways}`);
}

function denied(message: string): ToolError {
  return new ToolError("EGRESS_DENIED", message);
}

function noAddress(hostname: string, cause?: unknown): ToolError {
  return new ToolError("FETCH_FAILED", `${hostname} has no address`, { retryable: true, cause });
}
