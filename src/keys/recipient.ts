import { Encrypter } from "age-encryption";
import { SignalboxError } from "../kernel/errors.ts";

/**
 * A data key as an age file that only the recipient (`age1…`, X25519 or its post-quantum kin) can open. INVALID_REQUEST when that
 * is none.
 */
export async function wrapToRecipient(recipient: string, key: Uint8Array): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient(recipient);
  } catch (error) {
    const message = "recipient is not an age recipient: give what `age-keygen` prints as the public key, age1…";
    throw new SignalboxError("INVALID_REQUEST", message, { field: "recipient" }, error);
  }
  return encrypter.encrypt(key);
}
