import * as fc from "fast-check";
import { expect, test } from "vitest";
import { accessKeys } from "../../src/access/access-keys.ts";
import { isLinkToken, linkTokenDigest, newLinkToken } from "../../src/access/link-token.ts";
import { readPath, signPath } from "../../src/access/signed-url.ts";
import { derivedId } from "../../src/kernel/ids.ts";

const { url: key } = accessKeys(new Uint8Array(32).fill(1));
const signed = {
  workspaceId: "ws_a",
  artifactId: derivedId("art", "a"),
  grantId: derivedId("grant", "g"),
  expireSeconds: 1_800_000_000,
};
const before = new Date(1_799_999_999_000);
const path = signPath(key, signed);
const query = path.slice(path.indexOf("?") + 1);

test("reads what it wrote, until its time", () => {
  expect(readPath(key, signed, query, before)).toEqual({ state: "valid", signed });
  expect(readPath(key, signed, query, new Date(1_800_000_000_000))).toEqual({ state: "expired", signed });
});

test("every other place, parameter and key is forged", () => {
  const forged = { state: "forged" };
  const sig = query.slice(query.indexOf("&sig=") + 5);
  expect(readPath(key, { ...signed, workspaceId: "ws_b" }, query, before)).toEqual(forged);
  expect(readPath(key, { ...signed, artifactId: derivedId("art", "b") }, query, before)).toEqual(forged);
  expect(readPath(accessKeys(new Uint8Array(32)).url, signed, query, before)).toEqual(forged);
  expect(readPath(accessKeys(new Uint8Array(32).fill(1)).challenge, signed, query, before)).toEqual(forged);
  for (const other of [
    "",
    query.replace("exp=1800000000", "exp=1900000000"),
    query.replace("exp=1800000000", "exp=01800000000"),
    query.replace(signed.grantId, derivedId("grant", "h")),
    query.replace(signed.grantId, derivedId("link", "g")),
    `${query}&x=1`,
    `x=1&${query}`,
    `${query}&exp=1900000000`,
    query.split("&").toReversed().join("&"),
    query.replace("&sig", "&SIG"),
    `g=${signed.grantId}&exp=1800000000`,
    `g=${signed.grantId}&exp=1800000000&sig=`,
    `g=${signed.grantId}&exp=1800000000&sig=${sig}=`,
    `g=${signed.grantId}&exp=1800000000&sig=${sig.slice(1)}`,
  ]) {
    expect([other, readPath(key, signed, other, before)]).toEqual([other, forged]);
  }
});

test("every changed character of a query is forged", () => {
  const change = fc.record({
    at: fc.nat(query.length - 1),
    to: fc.constantFrom(...Array.from("ABCXYZabcxyz0189-_=&%+")),
  });
  fc.assert(
    fc.property(change, ({ at, to }) => {
      fc.pre(query[at] !== to);
      const changed = query.slice(0, at) + to + query.slice(at + 1);
      expect(readPath(key, signed, changed, before)).toEqual({ state: "forged" });
    }),
    { numRuns: 500 },
  );
});

test("a token of a link is 22 letters and digits, never the same, and on record as its digest only", () => {
  const tokens = new Set(Array.from({ length: 1_000 }, newLinkToken));
  expect(tokens.size).toBe(1_000);
  for (const token of tokens) expect(token).toMatch(/^[0-9A-Za-z]{22}$/);
  // 62 characters, 22,000 drawn: each is there.
  expect(new Set([...tokens].join("")).size).toBe(62);
  expect(linkTokenDigest("a")).toHaveLength(32);
  expect(isLinkToken("a".repeat(21)) || isLinkToken(`${"a".repeat(21)}/`) || isLinkToken("a".repeat(65))).toBe(false);
});
