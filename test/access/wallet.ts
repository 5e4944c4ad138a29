import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

/** The address of a secret key, in lower case. */
export function walletOf(secret: Uint8Array): string {
  const key = secp256k1.getPublicKey(secret, false).subarray(1);
  return `0x${Buffer.from(keccak_256(key).subarray(12)).toString("hex")}`;
}

/** EIP-191 personal_sign, as wallets do it: r, s, v in hex. */
export function personalSign(secret: Uint8Array, text: string): string {
  const message = Buffer.from(text);
  const digest = keccak_256(Buffer.concat([Buffer.from(`\x19Ethereum Signed Message:\n${message.length}`), message]));
  const [recovery = 0, ...rs] = secp256k1.sign(digest, secret, { prehash: false, format: "recovered" });
  return Buffer.from([...rs, 27 + recovery]).toString("hex");
}
