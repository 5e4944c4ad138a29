import { hkdfSync } from "node:crypto";

/** Keys of 32 bytes, one for each purpose. */
export interface AccessKeys {
  /** Signs URLs. */
  readonly url: Uint8Array;
  /** Seals challenges. */
  readonly challenge: Uint8Array;
}

/** The keys that come from an installation's secret (HKDF-SHA-256); all of its servers have the same. */
export function accessKeys(secret: Uint8Array): AccessKeys {
  const derive = (purpose: string) => new Uint8Array(hkdfSync("sha256", secret, "", `signalbox-access ${purpose}`, 32));
  return { url: derive("url v1"), challenge: derive("challenge v1") };
}
