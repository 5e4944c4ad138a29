import { SignalboxError } from "../kernel/errors.ts";
import { freshRecord, openAge, openKey, type OpenWorkspaceKey, rewrap } from "./data-keys.ts";
import type { KeyLookup, KeyRing, StoredKey } from "./key-ring.ts";
import type { KeyEntry } from "./key-store.ts";
import { dataFormat, type DataRecord, names } from "./records.ts";
import { keyContention, type KeysDeps, type WorkspaceKeys, type WorkspaceKeySet } from "./workspace-keys.ts";

/** What a key ring needs. */
export interface KeyRingDeps extends Pick<KeysDeps, "store" | "clock"> {
  readonly workspaceKeys: WorkspaceKeys;
}

const attempts = 16;
/** How old the time in a record may become before a key that is issued once more gets a new one. */
const renewMs = 60 * 60_000;

/** A record of an artifact's key, and where it stands in the store. */
interface StoredData {
  readonly record: DataRecord;
  readonly revision: number;
}

/** The key ring on a store of keys. */
export function createKeyRing({ store, clock, workspaceKeys }: KeyRingDeps): KeyRing {
  async function read(name: string): Promise<StoredData | undefined> {
    return parsed(await store.get(name));
  }

  /** Returns the record, or whose somebody else has put there meanwhile. */
  async function put(
    name: string,
    record: DataRecord,
    before: StoredData | undefined,
  ): Promise<StoredData | undefined> {
    const value = dataFormat.encode(record);
    const done = await (before === undefined ? store.create(name, value) : store.update(name, value, before.revision));
    return done === undefined ? read(name) : parsed(done);
  }

  return {
    async issue(workspaceId, artifactId, recipient) {
      const owner = { workspaceId, artifactId };
      const name = names.data(workspaceId, artifactId);
      let data = await read(name);
      for (let attempt = 0; attempt < attempts; attempt++) {
        // A rotation looks at every record after it has put its key in place, and gives the old ones up after that. So a record counts
        // only when the key that wraps it was seen to be the current one after the record was seen in the store: that rotation finds it.
        const keys = await workspaceKeys.withCurrent(workspaceId);
        const current = await openCurrent(keys);
        if (data === undefined) {
          data = await put(name, await freshRecord(owner, current, { recipient, createTime: clock.now() }), undefined);
          continue;
        }
        requireSame(data.record, recipient, artifactId);
        if (clock.now().getTime() - data.record.createTime.getTime() > renewMs) {
          // Whoever takes it for a key that nobody uses has to see that somebody does.
          data = await put(name, { ...data.record, createTime: clock.now() }, data);
          continue;
        }
        if (data.record.keyId === current.keyId) {
          await workspaceKeys.announce(keys);
          return { key: openKey(owner, current, data.record.key), keyId: current.keyId };
        }
        const wrappedBy = await openOf(keys, data.record.keyId);
        const next =
          wrappedBy === undefined
            ? // Nobody was ever given this key: whoever made it died before it could be seen to count.
              await freshRecord(owner, current, data.record)
            : rewrap(owner, data.record, wrappedBy, current);
        data = await put(name, next, data);
      }
      throw keyContention(workspaceId);
    },

    async seal(workspaceId, artifactId) {
      const name = names.data(workspaceId, artifactId);
      for (let attempt = 0; attempt < attempts; attempt++) {
        const data = await read(name);
        if (data?.record.age === undefined) {
          throw new SignalboxError("INVALID_STATE", `the key of ${artifactId} is not wrapped to a recipient`);
        }
        const { key: _, ...rest } = data.record;
        // Renewed: who takes it for a key that nobody uses would destroy it before its artifact is recorded.
        const sealed = { ...rest, createTime: clock.now() };
        // Also when it is so already: an update overwrites what a crash has left of the version before.
        if ((await store.update(name, dataFormat.encode(sealed), data.revision)) !== undefined) return;
      }
      throw keyContention(workspaceId);
    },

    async open(workspaceId, artifactId): Promise<KeyLookup> {
      const owner = { workspaceId, artifactId };
      const name = names.data(workspaceId, artifactId);
      for (let attempt = 0; attempt < attempts; attempt++) {
        const data = await read(name);
        if (data === undefined) {
          return {
            state: (await store.get(names.gone(workspaceId, artifactId))) === undefined ? "missing" : "destroyed",
          };
        }
        const { keyId, key, age, recipient = "" } = data.record;
        const keys = await workspaceKeys.read(workspaceId);
        const wrappedBy = keys === undefined ? undefined : await openOf(keys, keyId);
        if (wrappedBy !== undefined && key !== undefined) {
          return { state: "open", key: openKey(owner, wrappedBy, key), keyId };
        }
        if (wrappedBy !== undefined && age !== undefined) {
          return { state: "sealed", recipient, wrappedKey: openAge(owner, wrappedBy, recipient, age) };
        }
        if (keys?.record.destroyed.includes(keyId) === true) return { state: "destroyed" };
        // A rotation may have come between the two reads.
        const again = await read(name);
        if (again?.revision === data.revision) return { state: "missing" };
      }
      throw keyContention(workspaceId);
    },

    async destroy(workspaceId, artifactId, issuedUpTo) {
      const name = names.data(workspaceId, artifactId);
      const data = issuedUpTo === undefined ? undefined : await read(name);
      if (issuedUpTo !== undefined && (data === undefined || data.record.createTime > issuedUpTo)) return;
      // First the word that it was meant, so that a key that is gone is never taken for one that was lost.
      await store.create(names.gone(workspaceId, artifactId), Buffer.from(clock.now().toISOString()));
      await store.remove(name, data?.revision);
    },

    async *list(signal): AsyncGenerator<StoredKey> {
      for await (const { name, value } of store.entries(names.allData, signal)) {
        const [, workspaceId = "", artifactId = ""] = name.split(".");
        yield { workspaceId, artifactId, createTime: dataFormat.decode(value).createTime };
      }
    },
  };
}

function parsed(entry: KeyEntry | undefined): StoredData | undefined {
  return entry === undefined ? undefined : { record: dataFormat.decode(entry.value), revision: entry.revision };
}

async function openCurrent(keys: WorkspaceKeySet): Promise<OpenWorkspaceKey> {
  const current = await openOf(keys, keys.current?.keyId ?? "");
  if (current === undefined) throw new Error(`the keys of ${keys.workspaceId} have no current one`);
  return current;
}

async function openOf(keys: WorkspaceKeySet, keyId: string): Promise<OpenWorkspaceKey | undefined> {
  const key = await keys.open(keyId);
  return key === undefined ? undefined : { keyId, key };
}

/** A record whose key the server has, for that recipient. */
function requireSame(
  record: DataRecord,
  recipient: string | undefined,
  artifactId: string,
): asserts record is DataRecord & { key: Uint8Array } {
  if (record.recipient !== recipient) {
    throw new SignalboxError("REQUEST_ID_REUSED", `${artifactId} is being uploaded for another recipient`);
  }
  if (record.key === undefined) {
    const message = `only its recipient can open the key of ${artifactId} any more; upload it again under another request id`;
    throw new SignalboxError("INVALID_STATE", message);
  }
}
