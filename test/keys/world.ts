import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import type { Clock } from "../../src/kernel/clock.ts";
import { signalbox } from "../../src/kernel/principal.ts";
import type { IdSource } from "../../src/kernel/ids.ts";
import type { KeyJournal } from "../../src/keys/journal.ts";
import type { KeyStore } from "../../src/keys/key-store.ts";
import { createKeys, type Keys } from "../../src/keys/keys.ts";
import { createMemoryKeyStore } from "../../src/keys/memory-key-store.ts";
import { createRootKey, type RootKey, type RootKeys } from "../../src/keys/root-key.ts";

/** An order to destroy. */
export const order = { reason: "the tenant has left", by: signalbox };

/** An installation's keys in memory. */
export interface KeyWorld {
  readonly store: KeyStore;
  /** What the journal was told, a line each, in order. */
  readonly journal: KeyJournal & { readonly lines: string[] };
  readonly rootKey: RootKey;
  /** A server, or an operator's tool, that remembers nothing yet. */
  server(changes?: { store?: KeyStore; journal?: KeyJournal; rootKeys?: RootKeys; clock?: Clock }): Keys;
}

/** A new installation. */
export function createKeyWorld(store: KeyStore = createMemoryKeyStore()): KeyWorld {
  const rootKey = createRootKey(randomBytes(32));
  const journal = createMemoryJournal();
  const ids = createCountedIds();
  return {
    store,
    journal,
    rootKey,
    server: (changes = {}) =>
      createKeys({
        store,
        journal,
        rootKeys: { current: rootKey, old: [] },
        clock: { now: () => new Date("2026-11-21T08:00:00Z") },
        ids,
        ...changes,
      }),
  };
}

/** A journal like the log's: what is on record already is not recorded again. */
function createMemoryJournal(): KeyWorld["journal"] {
  const lines: string[] = [];
  const note = (line: string) => void (lines.includes(line) || lines.push(line));
  return {
    lines,
    rotated: async (workspaceId, keyId) => note(`${workspaceId} rotated ${keyId}`),
    destroyed: async (workspaceId, keyIds, { reason }) =>
      note(`${workspaceId} destroyed ${keyIds.join(" ")}: ${reason}`),
  };
}

function createCountedIds(): IdSource {
  let count = 0;
  const next = () => String(++count).padStart(26, "0");
  return { next: (prefix) => `${prefix}_${next()}`, uuid: () => `00000000-0000-4000-8000-${next().slice(-12)}` };
}

/** The key of an artifact that can be opened. Fails when it can not. */
export async function openedKey({ ring }: Keys, workspaceId: string, artifactId: string): Promise<string> {
  const found = await ring.open(workspaceId, artifactId);
  expect(found.state, `key of ${artifactId}`).toBe("open");
  return found.state === "open" ? hex(found.key) : "";
}

/** Bytes as text, to compare them. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
