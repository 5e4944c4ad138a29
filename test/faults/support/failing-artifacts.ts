import { flushCompileCache } from "node:module";
import type { BlobStore } from "../../../src/blobs/blob-store.ts";
import { openBlobs as openHonestBlobs } from "../../../src/cli/blobs.ts";
import { openSessionStore as openHonestSessions, type SessionStore } from "../../../src/artifacts/session-store.ts";
import { openJetStreamKeyStore as openHonestKeys } from "../../../src/keys/jetstream-key-store.ts";
import type { KeyStore } from "../../../src/keys/key-store.ts";
import { openJetStreamStore as openHonestLog } from "./failing-store.ts";

// Stands in for the stores of artifacts in a process that is to die: artifact-victim.ts sees to that.

/** Where a process dies: before or after something that it does to a store of artifacts, or in the middle of storing a blob. */
export interface StoreFailpoint {
  readonly effect: `blobs.${keyof BlobStore & string}` | `keys.${keyof KeyStore}` | `sessions.${keyof SessionStore}`;
  readonly when: "before" | "during" | "after";
  /** Only what has this in its name counts. */
  readonly workspaceId: string;
  /** The how many-th it is, from 1. */
  readonly occurrence: number;
}

/** @public */
export const openJetStreamStore = openHonestLog;

/** @public */
export const openBlobs: typeof openHonestBlobs = async (...given) => failing("blobs", await openHonestBlobs(...given));

/** @public */
export const openJetStreamKeyStore: typeof openHonestKeys = async (...given) =>
  failing("keys", await openHonestKeys(...given));

/** @public */
export const openSessionStore: typeof openHonestSessions = async (...given) =>
  failing("sessions", await openHonestSessions(...given));

function failing<T extends object>(store: string, target: T): T {
  const { effect, when, workspaceId, occurrence } = JSON.parse(
    process.env["STORE_FAILPOINT"] ?? "{}",
  ) as StoreFailpoint;
  let left = occurrence;
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property);
      if (typeof value !== "function" || effect !== `${store}.${String(property)}`) return value;
      return async (...args: unknown[]) => {
        const [name, bytes] = args;
        if (!String(name).includes(workspaceId) || --left > 0) return Reflect.apply(value, object, args) as unknown;
        if (when === "before") await die();
        if (when === "during") args[1] = untilHalf(bytes as AsyncIterable<Uint8Array>);
        const result: unknown = await Reflect.apply(value, object, args);
        return when === "after" ? die() : result;
      };
    },
  });
}

/** Dies once a mebibyte has gone by. */
async function* untilHalf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const piece of bytes) {
    yield piece;
    size += piece.length;
    if (size > 1024 * 1024) await die();
  }
}

/** Does not return. */
async function die(): Promise<never> {
  // The next one starts faster.
  flushCompileCache();
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => {});
}
