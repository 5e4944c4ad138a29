import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { IdSource } from "../kernel/ids.ts";
import type { KeyJournal } from "./journal.ts";
import type { KeyEntry, KeyStore } from "./key-store.ts";
import { names, type WorkspaceRecord, workspaceFormat } from "./records.ts";
import { type RootKeys, rootKeyOf } from "./root-key.ts";
import { newKey } from "./wrapping.ts";

/** What the keys of artifacts rest on. */
export interface KeysDeps {
  readonly store: KeyStore;
  readonly rootKeys: RootKeys;
  readonly journal: KeyJournal;
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** One key of a workspace, wrapped. */
export type WrappedWorkspaceKey = WorkspaceRecord["keys"][number];

/** The keys of a workspace at a revision of their record. */
export interface WorkspaceKeySet {
  readonly workspaceId: string;
  readonly record: WorkspaceRecord;
  readonly revision: number;
  /** What wraps what is new; undefined when it never had one, or they were destroyed. */
  readonly current: WrappedWorkspaceKey | undefined;
  /** One of its keys, opened; undefined when it does not have it, or not any more. */
  open(keyId: string): Promise<Uint8Array | undefined>;
}

/** The keys of workspaces. What was opened is remembered for the revision of the record that the store has now, and no other. */
export interface WorkspaceKeys {
  /** As they are now; undefined when the workspace never had any. */
  read(workspaceId: string): Promise<WorkspaceKeySet | undefined>;
  /** As they are now, with a current key: the first one is made here, and of several that make it at once one wins. */
  withCurrent(workspaceId: string): Promise<WorkspaceKeySet & { readonly current: WrappedWorkspaceKey }>;
  /** Puts the current key on record, unless this process has done so for this revision. */
  announce(keys: WorkspaceKeySet): Promise<void>;
  /** A new key, wrapped by the root key. */
  generate(workspaceId: string): Promise<WrappedWorkspaceKey>;
}

/** What is remembered of a revision. */
interface Remembered {
  readonly revision: number;
  readonly opened: Map<string, Promise<Uint8Array>>;
  announced: boolean;
}

/** Workspaces whose opened keys are remembered. */
const rememberedWorkspaces = 1_000;
const attempts = 16;

/** The keys of workspaces in a store. */
export function createWorkspaceKeys({ store, rootKeys, journal, clock, ids }: KeysDeps): WorkspaceKeys {
  const remembered = new Map<string, Remembered>();

  function rememberedOf(workspaceId: string, revision: number): Remembered {
    const known = remembered.get(workspaceId);
    if (known?.revision === revision) return known;
    const fresh: Remembered = { revision, opened: new Map(), announced: false };
    remembered.delete(workspaceId);
    remembered.set(workspaceId, fresh);
    const [oldest] = remembered.keys();
    if (remembered.size > rememberedWorkspaces && oldest !== undefined) remembered.delete(oldest);
    return fresh;
  }

  function keySet(workspaceId: string, { value, revision }: KeyEntry): WorkspaceKeySet {
    const record = workspaceFormat.decode(value);
    return {
      workspaceId,
      record,
      revision,
      current: record.keys.at(-1),
      async open(keyId) {
        const wrapped = record.keys.find((key) => key.keyId === keyId);
        if (wrapped === undefined) return undefined;
        const { opened } = rememberedOf(workspaceId, revision);
        const opening = opened.get(keyId) ?? openKey(workspaceId, wrapped);
        opened.set(keyId, opening);
        try {
          return await opening;
        } catch (error) {
          opened.delete(keyId);
          throw error;
        }
      },
    };
  }

  function openKey(workspaceId: string, { rootId, wrapped, keyId }: WrappedWorkspaceKey): Promise<Uint8Array> {
    return rootKeyOf(rootKeys, rootId).unwrap(wrapped, workspaceKeyLabel(workspaceId, keyId));
  }

  async function generate(workspaceId: string): Promise<WrappedWorkspaceKey> {
    const keyId = ids.next("key");
    const wrapped = await rootKeys.current.wrap(newKey(), workspaceKeyLabel(workspaceId, keyId));
    return { keyId, createTime: clock.now(), rootId: rootKeys.current.id, wrapped };
  }

  async function read(workspaceId: string): Promise<WorkspaceKeySet | undefined> {
    const entry = await store.get(names.workspace(workspaceId));
    // Keys of another revision may be destroyed: they do not stay in memory.
    if (remembered.get(workspaceId)?.revision !== entry?.revision) remembered.delete(workspaceId);
    return entry === undefined ? undefined : keySet(workspaceId, entry);
  }

  async function withCurrent(workspaceId: string) {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const found = await read(workspaceId);
      if (found?.current !== undefined) return { ...found, current: found.current };
      const name = names.workspace(workspaceId);
      const record = { ...(found?.record ?? { retired: [], destroyed: [] }), keys: [await generate(workspaceId)] };
      const value = workspaceFormat.encode(record);
      // Whoever is first wins; everybody reads what is there then.
      await (found === undefined ? store.create(name, value) : store.update(name, value, found.revision));
    }
    throw keyContention(workspaceId);
  }

  return {
    read,
    withCurrent,
    generate,
    async announce({ workspaceId, revision, current }) {
      const known = rememberedOf(workspaceId, revision);
      if (known.announced || current === undefined) return;
      await journal.rotated(workspaceId, current.keyId);
      known.announced = true;
    },
  };
}

/** What a workspace's key is wrapped as. */
export function workspaceKeyLabel(workspaceId: string, keyId: string): string {
  return `signalbox workspace key ${workspaceId} ${keyId}`;
}

/** Too many writers on a workspace's keys. */
export function keyContention(workspaceId: string): SignalboxError {
  return new SignalboxError("CONTENTION", `too many writers on the keys of ${workspaceId}; repeat with backoff`);
}
