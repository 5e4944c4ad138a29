import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { SignalboxError } from "../kernel/errors.ts";
import type { AuthSettings } from "./auth.ts";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

const loopbackAuthority = /^(localhost|[a-z0-9.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

/**
 * The address to listen on. Without authentication only a loopback one: PERMISSION_DENIED otherwise.
 * INVALID_REQUEST when the name does not resolve.
 */
export async function listenAddress(host: string, auth: AuthSettings): Promise<string> {
  const address = await resolve(host);
  if (auth.mode === "none" && !isLoopback(address)) {
    throw new SignalboxError(
      "PERMISSION_DENIED",
      `refusing to listen on ${host} without authentication: set SIGNALBOX_AUTH=static_token and SIGNALBOX_TOKEN, ` +
        `or SIGNALBOX_HOST=127.0.0.1`,
    );
  }
  return address;
}

async function resolve(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (error) {
    const message = `can not listen on ${host}: the name does not resolve; set SIGNALBOX_HOST to an address of this machine`;
    throw new SignalboxError("INVALID_REQUEST", message, {}, error);
  }
}

function isLoopback(address: string): boolean {
  return loopback.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/**
 * True when a request was meant for this machine by name: `localhost`, a name below it, or a loopback address, with or
 * without a port. A web page that points its own name at 127.0.0.1 (DNS rebinding) does not pass.
 */
export function isLoopbackAuthority(authority: string): boolean {
  return loopbackAuthority.test(authority);
}

/** The error of listening on an address, with the way out where one is known; else the error as it is. */
export function listenError(error: unknown, address: string, port: number): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const place = `port ${port} on ${address}`;
  switch (code) {
    case "EADDRINUSE":
      return new SignalboxError(
        "INVALID_STATE",
        `${place} is taken: stop what uses it, or set SIGNALBOX_PORT (0 for any)`,
        {},
        error,
      );
    case "EACCES":
      return new SignalboxError(
        "PERMISSION_DENIED",
        `${place} may not be opened by this user: set SIGNALBOX_PORT above 1023`,
        {},
        error,
      );
    case "EADDRNOTAVAIL":
      return new SignalboxError(
        "INVALID_REQUEST",
        `${address} is not an address of this machine: set SIGNALBOX_HOST`,
        {},
        error,
      );
    default:
      return error;
  }
}
