import { createHash } from "node:crypto";
import { SignalboxError } from "../kernel/errors.ts";

const defaultPageSize = 50;
const maxPageSize = 200;

/** Where a page begins. */
export interface Page {
  /** Rows to return at most. */
  readonly size: number;
  /** The key of the last row of the page before; undefined for the first page. */
  readonly after: bigint | undefined;
  /** The token that continues behind a row. */
  readonly tokenAfter: (key: bigint) => string;
}

/**
 * Reads page_size (0 is 50, more than 200 is 200) and page_token. The token only fits the same list with the same
 * filters: INVALID_REQUEST for any other, and for anything that is not one of our tokens.
 */
export function readPage(list: string, filters: unknown, pageSize: number, pageToken: string): Page {
  const print = createHash("sha256")
    .update(
      JSON.stringify([list, filters], (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
    )
    .digest("base64url")
    .slice(0, 16);
  return {
    size: pageSize === 0 ? defaultPageSize : Math.min(pageSize, maxPageSize),
    after: pageToken === "" ? undefined : readToken(pageToken, print),
    tokenAfter: (key) => Buffer.from(`${print}.${key}`).toString("base64url"),
  };
}

function readToken(token: string, print: string): bigint {
  const [found, key = ""] = Buffer.from(token, "base64url").toString("latin1").split(".");
  if (!/^\d{1,19}$/.test(key)) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "page_token is not a token of this service; leave it empty for the first page",
    );
  }
  if (found !== print) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "page_token belongs to another list or other filters; repeat the filters of the first page or leave it empty",
    );
  }
  return BigInt(key);
}
