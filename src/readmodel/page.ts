import { createHash } from "node:crypto";
import { SignalboxError } from "../kernel/errors.ts";

const defaultPageSize = 50;
const maxPageSize = 200;

/** Where a page begins. */
export interface Page<Key = bigint> {
  /** Rows to return at most. */
  readonly size: number;
  /** The key of the last row of the page before; undefined for the first page. */
  readonly after: Key | undefined;
  /** The token that continues behind a row. */
  readonly tokenAfter: (key: Key) => string;
}

/**
 * Reads page_size (0 is 50, more than 200 is 200) and page_token. The token only fits the same list with the same
 * filters: INVALID_REQUEST for any other, and for anything that is not one of our tokens.
 */
export function readPage(list: string, filters: unknown, pageSize: number, pageToken: string): Page {
  const { after, ...page } = readNamePage(list, filters, pageSize, pageToken);
  if (after !== undefined && !/^\d{1,19}$/.test(after)) throw notOurs();
  return {
    ...page,
    after: after === undefined ? undefined : BigInt(after),
    tokenAfter: (key) => page.tokenAfter(`${key}`),
  };
}

/** The same for a list in the order of names, which may hold anything but NUL. */
export function readNamePage(list: string, filters: unknown, pageSize: number, pageToken: string): Page<string> {
  const print = createHash("sha256")
    .update(
      JSON.stringify([list, filters], (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
    )
    .digest("base64url")
    .slice(0, printLength);
  return {
    size: pageSize === 0 ? defaultPageSize : Math.min(pageSize, maxPageSize),
    after: pageToken === "" ? undefined : readToken(pageToken, print),
    tokenAfter: (name) => Buffer.from(`${print}.${name}`).toString("base64url"),
  };
}

const printLength = 16;

function readToken(token: string, print: string): string {
  const text = Buffer.from(token, "base64url").toString();
  const name = text.slice(printLength + 1);
  if (text[printLength] !== "." || name === "" || name.includes("\0")) throw notOurs();
  if (text.slice(0, printLength) !== print) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "page_token belongs to another list or other filters; repeat the filters of the first page or leave it empty",
    );
  }
  return name;
}

function notOurs(): SignalboxError {
  return new SignalboxError(
    "INVALID_REQUEST",
    "page_token is not a token of this service; leave it empty for the first page",
  );
}
