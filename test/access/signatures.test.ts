import { create } from "@bufbuild/protobuf";
import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Grantee, GranteeSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { requireGrantee } from "../../src/access/grantee.ts";
import { isSignedBy } from "../../src/access/signatures.ts";
import { personalSign, walletOf } from "./wallet.ts";

const text = "Sign this, grüße 🖋\n";

function grantee(who: Grantee["who"]): Grantee {
  return create(GranteeSchema, { who });
}

describe("Ed25519", () => {
  const secret = new Uint8Array(32).fill(9);
  const publicKey = Buffer.from(ed25519.getPublicKey(secret)).toString("hex");
  const who = grantee({ case: "ed25519PublicKey", value: publicKey });
  const signature = Buffer.from(ed25519.sign(Buffer.from(text), secret)).toString("hex");

  test("takes the key's signature, also one that OpenSSL made", () => {
    expect(isSignedBy(who, text, signature)).toBe(true);
    expect(isSignedBy(who, text, `0x${signature.toUpperCase()}`)).toBe(true);
    const pair = generateKeyPairSync("ed25519");
    const raw = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
    const made = sign(undefined, Buffer.from(text), pair.privateKey).toString("hex");
    expect(isSignedBy(grantee({ case: "ed25519PublicKey", value: raw }), text, made)).toBe(true);
  });

  test("refuses another text, key, length, and every flipped bit", () => {
    expect(isSignedBy(who, `${text} `, signature)).toBe(false);
    expect(isSignedBy(grantee({ case: "ed25519PublicKey", value: "00".repeat(32) }), text, signature)).toBe(false);
    expect(isSignedBy(who, text, signature.slice(2))).toBe(false);
    expect(isSignedBy(who, text, `${signature}00`)).toBe(false);
    expect(isSignedBy(who, text, signature.slice(1))).toBe(false);
    for (let bit = 0; bit < 512; bit += 7) {
      const flipped = Buffer.from(signature, "hex");
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(isSignedBy(who, text, flipped.toString("hex"))).toBe(false);
    }
  });

  test("a key for which anybody can sign, or that is none, is no grantee", () => {
    // The identity: R = identity and s = 0 would fit any text.
    const identity = `01${"00".repeat(31)}`;
    const forged = `${identity}${"00".repeat(32)}`;
    expect(isSignedBy(grantee({ case: "ed25519PublicKey", value: identity }), text, forged)).toBe(false);
    for (const value of [identity, "00".repeat(32), "ff".repeat(32), `02${"00".repeat(31)}`]) {
      expect(() => requireGrantee(grantee({ case: "ed25519PublicKey", value }))).toThrow("is not a public key");
    }
    expect(requireGrantee(who)).toEqual(who);
  });
});

describe("EIP-191", () => {
  // Known from the Ethereum documentation and from tests of other libraries: the first account of a development chain.
  const secret = Buffer.from("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80", "hex");
  const address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
  const who = grantee({ case: "ethereumAddress", value: address });
  const signature = personalSign(secret, text);

  test("takes the wallet's signature, whatever the case of its address, with v as 27 and 28 or 0 and 1", () => {
    expect(walletOf(secret)).toBe(address.toLowerCase());
    expect(isSignedBy(who, text, signature)).toBe(true);
    expect(isSignedBy(requireGrantee(who), text, `0x${signature}`)).toBe(true);
    const v = Number.parseInt(signature.slice(-2), 16);
    expect(isSignedBy(who, text, signature.slice(0, -2) + `0${v - 27}`)).toBe(true);
    expect(requireGrantee(who).who.value).toBe(address.toLowerCase());
  });

  test("takes the signature that other libraries document for this wallet", () => {
    // viem's and ethers' signMessage("hello world") of that account.
    const known =
      "a461f509887bd19e312c0c58467ce8ff8e300d3c1a90b608a760c5b80318eaf15fe57c96f9175d6cd4daad4663763baa7e78836e067d0163e9a2ccf2ff753f5b1b";
    expect(isSignedBy(who, "hello world", known)).toBe(true);
  });

  test("refuses another text, another wallet, another v, a missing one and nonsense", () => {
    expect(isSignedBy(who, `${text} `, signature)).toBe(false);
    expect(isSignedBy(grantee({ case: "ethereumAddress", value: `0x${"00".repeat(20)}` }), text, signature)).toBe(
      false,
    );
    for (const v of ["1d", "02", "1a", "ff"]) expect(isSignedBy(who, text, signature.slice(0, -2) + v)).toBe(false);
    const other = signature.endsWith("1b") ? "1c" : "1b";
    expect(isSignedBy(who, text, signature.slice(0, -2) + other)).toBe(false);
    expect(isSignedBy(who, text, signature.slice(0, -2))).toBe(false);
    for (const fill of ["00", "ff"]) expect(isSignedBy(who, text, `${fill.repeat(64)}1b`)).toBe(false);
  });

  test("refuses the other signature that fits the same text", () => {
    const parsed = secp256k1.Signature.fromHex(signature.slice(0, 128));
    const order = secp256k1.Point.Fn.ORDER;
    const high = (order - parsed.s).toString(16).padStart(64, "0");
    const v = signature.endsWith("1b") ? "1c" : "1b";
    expect(isSignedBy(who, text, `${signature.slice(0, 64)}${high}${v}`)).toBe(false);
  });
});

test("a name has no key to sign with", () => {
  expect(isSignedBy(grantee({ case: "principal", value: "user:alice" }), text, "00".repeat(64))).toBe(false);
});
