import * as fc from "fast-check";
import { expect, test } from "vitest";
import { attachment, safeContentType } from "../../src/server/artifact-headers.ts";
import { planRange, type RangeRequest } from "../../src/server/artifact-range.ts";

const etag = '"abc"';
const get = (changes: Partial<RangeRequest> = {}): RangeRequest => ({
  method: "GET",
  range: undefined,
  ifRange: undefined,
  ifNoneMatch: undefined,
  ...changes,
});
const plan = (range: string | undefined, size = 10n, changes = {}) => {
  const { status, from, to } = planRange(get({ range, ...changes }), etag, size);
  return [status, Number(from), Number(to)];
};

test.each([
  [undefined, [200, 0, 10]],
  ["bytes=0-0", [206, 0, 1]],
  ["bytes=0-9", [206, 0, 10]],
  ["bytes=0-99", [206, 0, 10]],
  ["bytes=3-", [206, 3, 10]],
  ["bytes=9-9", [206, 9, 10]],
  ["BYTES=3-4", [206, 3, 5]],
  ["bytes= 3-4 ", [206, 3, 5]],
  ["bytes=-1", [206, 9, 10]],
  ["bytes=-10", [206, 0, 10]],
  ["bytes=-99", [206, 0, 10]],
  ["bytes=0-99999999999999999999999", [206, 0, 10]],
  // Nothing of it is there.
  ["bytes=10-", [416, 10, 10]],
  ["bytes=10-20", [416, 10, 10]],
  ["bytes=99999999999999999999999-", [416, 10, 10]],
  ["bytes=-0", [416, 10, 10]],
  // No sense, several, or another unit: the whole.
  ["bytes=5-4", [200, 0, 10]],
  ["bytes=-", [200, 0, 10]],
  ["bytes=", [200, 0, 10]],
  ["bytes=a-b", [200, 0, 10]],
  ["bytes=1-2,4-5", [200, 0, 10]],
  ["bytes=1-2, 4-5", [200, 0, 10]],
  ["items=0-1", [200, 0, 10]],
  ["bytes 0-1", [200, 0, 10]],
  ["bytes=0x1-2", [200, 0, 10]],
])("Range: %s of 10 bytes", (range, expected) => {
  expect(plan(range)).toEqual(expected);
});

test("nothing of an empty file can be asked for by range", () => {
  expect(plan(undefined, 0n)).toEqual([200, 0, 0]);
  expect(plan("bytes=0-", 0n)).toEqual([416, 0, 0]);
  expect(plan("bytes=-5", 0n)).toEqual([416, 0, 0]);
});

test("HEAD knows no ranges, and If-Range asks for the whole unless it names these very bytes", () => {
  expect(plan("bytes=0-1", 10n, { method: "HEAD" })).toEqual([200, 0, 10]);
  expect(plan("bytes=0-1", 10n, { ifRange: etag })).toEqual([206, 0, 2]);
  for (const ifRange of ['"other"', `W/${etag}`, "Wed, 21 Oct 2026 07:28:00 GMT", ""]) {
    expect(plan("bytes=0-1", 10n, { ifRange })).toEqual([200, 0, 10]);
  }
});

test.each([
  [etag, 304],
  [`W/${etag}`, 304],
  ["*", 304],
  [`"x", W/${etag} , "y"`, 304],
  ['"x"', 200],
  ["abc", 200],
  ["", 200],
])("If-None-Match: %s is %i, for HEAD as well, and before ranges", (ifNoneMatch, status) => {
  expect(planRange(get({ ifNoneMatch }), etag, 10n).status).toBe(status);
  expect(planRange(get({ ifNoneMatch, method: "HEAD" }), etag, 10n).status).toBe(status);
  const ranged = planRange(get({ ifNoneMatch, range: "bytes=0-1" }), etag, 10n);
  expect(ranged.status).toBe(status === 304 ? 304 : 206);
});

test("whatever Range says, what is sent lies within the file", () => {
  const range = fc.oneof(
    fc.string(),
    fc.tuple(fc.nat(40), fc.nat(40)).map(([a, b]) => `bytes=${a}-${b}`),
  );
  const within = fc.property(range, fc.nat(30), (text, size) => {
    const { status, from, to } = planRange(get({ range: text }), etag, BigInt(size));
    if (status === 416) return from >= to;
    return status === 206 ? from >= 0n && from < to && to <= BigInt(size) : from === 0n && to === BigInt(size);
  });
  expect(fc.check(within).failed).toBe(false);
});

test.each([
  ["text/html", "application/octet-stream"],
  ["text/html; charset=utf-8", "application/octet-stream"],
  ["image/svg+xml", "application/octet-stream"],
  ["application/xhtml+xml", "application/octet-stream"],
  ["application/javascript", "application/octet-stream"],
  ["text/xml", "application/octet-stream"],
  ["multipart/mixed", "application/octet-stream"],
  ["", "application/octet-stream"],
  ["text/plain\r\nx-evil: 1", "application/octet-stream"],
  ["Text/Plain; Charset=UTF-8", "text/plain; charset=utf-8"],
  ["text/plain; charset=utf-7", "text/plain"],
  ["application/json; charset=utf-8", "application/json"],
  ["image/png", "image/png"],
])("a browser is told of %j that it is %s", (given, told) => {
  expect(safeContentType(given)).toBe(told);
});

test.each([
  ["report.pdf", `attachment; filename="report.pdf"; filename*=UTF-8''report.pdf`],
  ['a"b\\c%d', `attachment; filename="a_b_c_d"; filename*=UTF-8''a%22b%5Cc%25d`],
  ["grüße 🖋.txt", `attachment; filename="gr__e _.txt"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%F0%9F%96%8B.txt`],
  ["it's (1)*.txt", `attachment; filename="it's (1)*.txt"; filename*=UTF-8''it%27s%20%281%29%2A.txt`],
  ["a\r\nx: y", `attachment; filename="a__x: y"; filename*=UTF-8''a%0D%0Ax%3A%20y`],
])("%j is saved as %s", (name, header) => {
  expect(attachment(name)).toBe(header);
});

// Lone surrogates included.
const anyText = fc.array(fc.nat(0x10_ffff)).map((points) => String.fromCodePoint(...points));

test("no name breaks out of its header", () => {
  const safe = /^attachment; filename="[^"\\\r\n]*"; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]*$/;
  const named = fc.property(anyText, (name) => safe.test(attachment(name)));
  expect(fc.check(named).failed).toBe(false);
});
