import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Bytes of every key. */
export const keyBytes = 32;

const nonceBytes = 12;
const tagBytes = 16;

/** A new random key. */
export function newKey(): Uint8Array {
  return new Uint8Array(randomBytes(keyBytes));
}

/**
 * A key, or another small secret, encrypted under a key: nonce ‖ AES-256-GCM ‖ tag. It opens under the same label only, which says
 * what it is and whose.
 */
export function wrap(wrappingKey: Uint8Array, secret: Uint8Array, label: string): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", wrappingKey, nonce).setAAD(Buffer.from(label));
  const body = cipher.update(secret);
  cipher.final();
  return Buffer.concat([nonce, body, cipher.getAuthTag()]);
}

/** What was wrapped. Throws when it is not what `wrap` made with this key and label. */
export function unwrap(wrappingKey: Uint8Array, wrapped: Uint8Array, label: string): Uint8Array {
  const decipher = createDecipheriv("aes-256-gcm", wrappingKey, wrapped.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(Buffer.from(label)).setAuthTag(wrapped.subarray(-tagBytes));
  const secret = decipher.update(wrapped.subarray(nonceBytes, -tagBytes));
  decipher.final();
  return new Uint8Array(secret);
}
