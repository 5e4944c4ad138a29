/** What a request says about the part that it wants. */
export interface RangeRequest {
  /** GET or HEAD. */
  readonly method: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

/** How to answer: bytes from `from` up to, not including, `to`. */
export interface RangePlan {
  readonly status: 200 | 206 | 304 | 416;
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * What to answer for a file of `sizeBytes` bytes and a strong `etag` (RFC 9110, 13 and 14): one range is served, several are
 * answered with the whole, as are those that make no sense; a range behind the end is 416. Pure.
 */
export function planRange(request: RangeRequest, etag: string, sizeBytes: bigint): RangePlan {
  const whole = { status: 200, from: 0n, to: sizeBytes } as const;
  if (request.ifNoneMatch !== undefined && matches(request.ifNoneMatch, etag)) return { ...whole, status: 304 };
  // HEAD knows no ranges (14.2). A date in If-Range never fits: there is no Last-Modified to compare it with.
  const ignored = request.method !== "GET" || (request.ifRange !== undefined && request.ifRange.trim() !== etag);
  const wanted = ignored ? undefined : readRange(request.range ?? "", sizeBytes);
  if (wanted === undefined) return whole;
  // Where it begins may be a number that no field holds: what is not there begins at the end.
  return wanted.from < wanted.to ? { status: 206, ...wanted } : { status: 416, from: sizeBytes, to: sizeBytes };
}

/** One range within the file; empty when none of it is there, undefined for none or several. */
function readRange(header: string, sizeBytes: bigint): { from: bigint; to: bigint } | undefined {
  const [, first, last] = /^bytes=[ \t]*(\d{0,30})-(\d{0,30})[ \t]*$/i.exec(header.trim()) ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first === "") {
    const count = BigInt(last);
    return { from: count > sizeBytes ? 0n : sizeBytes - count, to: sizeBytes };
  }
  const from = BigInt(first);
  if (last !== "" && BigInt(last) < from) return undefined;
  const end = last === "" ? sizeBytes : BigInt(last) + 1n;
  return { from, to: end < sizeBytes ? end : sizeBytes };
}

/** If-None-Match compares weakly (13.1.2). */
function matches(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((each) => each.trim().replace(/^W\//, "") === etag);
}
