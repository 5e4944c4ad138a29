import { expect, test } from "vitest";
import { allowedAddresses, isPublicAddress, parseHostRule, publicNetwork } from "../../../src/tools/packs/egress.ts";
import { toolErrorOf } from "../calling.ts";

const inside = [
  "0.0.0.0",
  "0.1.2.3",
  "10.1.2.3",
  "100.64.0.1",
  "127.0.0.1",
  "127.255.255.254",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.8",
  "192.0.2.1",
  "192.88.99.1",
  "192.168.1.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.250",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::127.0.0.1",
  "::ffff:127.0.0.1",
  "::ffff:8.8.8.8",
  "::ffff:7f00:1",
  "64:ff9b::7f00:1",
  "64:ff9b:1::a00:1",
  "100::1",
  "2001::1",
  "2001:db8::1",
  "2002:7f00:1::",
  "3fff::1",
  "4000::1",
  "5f00::1",
  "fc00::1",
  "fd12:3456::1",
  "fe80::1",
  "fe80::1%eth0",
  "fec0::1",
  "ff02::1",
];
for (const address of inside) {
  test(`${address} is not public`, () => expect(isPublicAddress(address)).toBe(false));
}

for (const address of ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001::1"]) {
  test(`${address} is public`, () => expect(isPublicAddress(address)).toBe(true));
}

for (const text of ["0x08.8.8.8", "010.8.8.8", "134744072", "8.8.8", "8.8.8.8.8", "", "localhost", "8.8.8.8 ", "1:2"]) {
  test(`${JSON.stringify(text)} is not the usual notation of an address`, () => {
    expect(isPublicAddress(text)).toBe(false);
  });
}

test("an address that is written out is not resolved but held against the rules", async () => {
  const resolve = () => Promise.reject(new Error("asked"));
  const network = { resolve, isAllowed: publicNetwork.isAllowed };
  expect(await allowedAddresses("8.8.8.8", network)).toEqual(["8.8.8.8"]);
  expect(await allowedAddresses("[2606:4700::1111]", network)).toEqual(["2606:4700::1111"]);
  for (const hostname of ["127.0.0.1", "[::1]", "[::ffff:a00:1]", "[64:ff9b::a00:1]"]) {
    expect((await toolErrorOf(allowedAddresses(hostname, network))).code).toBe("EGRESS_DENIED");
  }
});

test("a name counts as inside when one of its addresses does", async () => {
  const network = { resolve: async () => ["8.8.8.8", "10.0.0.1"], isAllowed: publicNetwork.isAllowed };
  expect(await toolErrorOf(allowedAddresses("mixed.test", network))).toMatchObject({ code: "EGRESS_DENIED" });
});

test("a name without an address can have one later", async () => {
  const network = { resolve: async () => [], isAllowed: () => true };
  const error = await toolErrorOf(allowedAddresses("gone.test", network));
  expect(error).toMatchObject({ code: "FETCH_FAILED", retryable: true });
});

test("localhost resolves to what is not public", async () => {
  expect((await toolErrorOf(allowedAddresses("localhost", publicNetwork))).code).toBe("EGRESS_DENIED");
});

const rules: [string, object][] = [
  ["example.com", { protocol: "https:", match: "same", host: "example.com", port: "" }],
  ["EXAMPLE.com:443", { protocol: "https:", match: "same", host: "example.com", port: "" }],
  ["https://example.com:8443", { protocol: "https:", match: "same", host: "example.com", port: "8443" }],
  ["http://example.com", { protocol: "http:", match: "same", host: "example.com", port: "" }],
  ["*.example.com", { protocol: "https:", match: "below", host: "example.com", port: "" }],
  ["*", { protocol: "https:", match: "any", host: "", port: "" }],
  ["http://*:8080", { protocol: "http:", match: "any", host: "", port: "8080" }],
  ["bücher.example", { protocol: "https:", match: "same", host: "xn--bcher-kva.example", port: "" }],
  ["[2606:4700::1111]", { protocol: "https:", match: "same", host: "[2606:4700::1111]", port: "" }],
];
for (const [entry, rule] of rules) {
  test(`reads the allowed host ${entry}`, () => expect(parseHostRule(entry)).toEqual(rule));
}

const noRules = [
  "",
  "ftp://a.test",
  "a.test/path",
  "user@a.test",
  "a.test?x",
  "a b",
  "*a.test",
  "a.*",
  "a.test:x",
  "a.",
  "*.",
  "**",
];
for (const entry of noRules) {
  test(`does not read ${JSON.stringify(entry)} as a host`, () => {
    expect(() => parseHostRule(entry)).toThrow(TypeError);
  });
}
