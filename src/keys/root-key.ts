import { hkdfSync } from "node:crypto";
import { SignalboxError } from "../kernel/errors.ts";
import { keyBytes, unwrap, wrap } from "./wrapping.ts";

/** The key of an installation, which wraps the keys of its workspaces. It may be somewhere else altogether. */
export interface RootKey {
  /** Which one it is; says nothing about the key. */
  readonly id: string;
  /** A workspace's key, wrapped under a label. STORE_UNAVAILABLE. */
  wrap(key: Uint8Array, label: string): Promise<Uint8Array>;
  /** What was wrapped under that label. ARTIFACT_CORRUPT when it is not that, STORE_UNAVAILABLE. */
  unwrap(wrapped: Uint8Array, label: string): Promise<Uint8Array>;
}

/** The root keys of a process. */
export interface RootKeys {
  /** Wraps what is new. */
  readonly current: RootKey;
  /** Open what an earlier one has wrapped, until that is wrapped anew. */
  readonly old: readonly RootKey[];
}

/** A root key in this process. Throws RangeError unless it has 32 bytes. */
export function createRootKey(key: Uint8Array): RootKey {
  if (key.length !== keyBytes) throw new RangeError(`a root key has ${keyBytes} bytes, not ${key.length}`);
  return {
    id: Buffer.from(hkdfSync("sha256", key, "", "signalbox-root-key-id", 8)).toString("hex"),
    wrap: async (secret, label) => wrap(key, secret, label),
    unwrap: async (wrapped, label) => {
      try {
        return unwrap(key, wrapped, label);
      } catch (error) {
        throw new SignalboxError("ARTIFACT_CORRUPT", "the stored key of a workspace is damaged", {}, error);
      }
    },
  };
}

/** The root key of that id. STORE_UNAVAILABLE, with the way out, when this process does not have it. */
export function rootKeyOf({ current, old }: RootKeys, id: string): RootKey {
  const found = [current, ...old].find((rootKey) => rootKey.id === id);
  if (found !== undefined) return found;
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    `the keys of this workspace are wrapped by root key ${id}, which this server was not given (it has ${current.id})`,
    { root_key_id: id },
  );
}
