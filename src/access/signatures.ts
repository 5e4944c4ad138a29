import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import type { Grantee } from "../../gen/signalbox/v1/artifact_pb.ts";

/**
 * True when the holder of the grantee's key signed this text (UTF-8): Ed25519 as in RFC 8032, EIP-191 personal_sign for a
 * wallet address. `signature` is hex, with or without `0x`. False for whatever does not fit, and for a grantee who has no key.
 * Pure.
 */
export function isSignedBy(grantee: Grantee, text: string, signature: string): boolean {
  const hex = signature.replace(/^0x/, "");
  const bytes = Buffer.from(hex, "hex");
  if (bytes.length * 2 !== hex.length) return false;
  const message = new TextEncoder().encode(text);
  switch (grantee.who.case) {
    case "ed25519PublicKey":
      return isSignedByKey(grantee.who.value, message, bytes);
    case "ethereumAddress":
      return isSignedByWallet(grantee.who.value, message, bytes);
    case "principal":
    case undefined:
      return false;
  }
}

function isSignedByKey(publicKey: string, message: Uint8Array, signature: Uint8Array): boolean {
  const key = Buffer.from(publicKey, "hex");
  if (signature.length !== 64 || key.length !== 32) return false;
  // Strict: no key of small order, for which signatures fit more than one text.
  return ed25519.verify(signature, message, key, { zip215: false });
}

function isSignedByWallet(address: string, message: Uint8Array, signature: Uint8Array): boolean {
  const [v] = signature.subarray(64);
  if (signature.length !== 65 || v === undefined) return false;
  // Wallets write the recovery bit as 27 or 28, some as 0 or 1.
  const recovery = v >= 27 ? v - 27 : v;
  if (recovery > 1) return false;
  const prefix = new TextEncoder().encode(`\x19Ethereum Signed Message:\n${message.length}`);
  const digest = keccak_256(Buffer.concat([prefix, message]));
  try {
    const recovered = Buffer.concat([Uint8Array.of(recovery), signature.subarray(0, 64)]);
    const parsed = secp256k1.Signature.fromBytes(recovered, "recovered");
    // Of two signatures that anybody can turn into each other, one counts (EIP-2).
    if (parsed.hasHighS()) return false;
    const publicKey = parsed.recoverPublicKey(digest).toBytes(false);
    return walletAddress(publicKey) === address.toLowerCase();
  } catch {
    // r or s out of range, or no point: no signature.
    return false;
  }
}

/** The address of an uncompressed public key. */
function walletAddress(publicKey: Uint8Array): string {
  return `0x${Buffer.from(keccak_256(publicKey.subarray(1)).subarray(12)).toString("hex")}`;
}
