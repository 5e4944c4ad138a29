import { randomBytes } from "node:crypto";
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import type { KeyJournal } from "../../src/keys/journal.ts";
import type { KeyStore } from "../../src/keys/key-store.ts";
import type { Keys } from "../../src/keys/keys.ts";
import { createRootKey, type RootKeys } from "../../src/keys/root-key.ts";
import { createKeyWorld, hex, type KeyWorld, openedKey, order } from "./world.ts";

const recipient = await identityToRecipient(await generateX25519Identity());
const nextRoot = createRootKey(randomBytes(32));

class Crash extends Error {}

/** Counts writes, and dies before or after one of them. Nothing is written after a death. */
function createFailpoint(at: number, when: "before" | "after") {
  let writes = 0;
  const write = async <T>(act: () => Promise<T>): Promise<T> => {
    writes++;
    if (writes > at || (writes === at && when === "before")) throw new Crash();
    const result = await act();
    if (writes === at) throw new Crash();
    return result;
  };
  return {
    write,
    writes: () => writes,
    store: (store: KeyStore): KeyStore => ({
      ...store,
      create: (...given) => write(() => store.create(...given)),
      update: (...given) => write(() => store.update(...given)),
      remove: (name) => write(() => store.remove(name)),
    }),
    journal: (journal: KeyJournal): KeyJournal => ({
      rotated: (...given) => write(() => journal.rotated(...given)),
      destroyed: (...given) => write(() => journal.destroyed(...given)),
    }),
  };
}

interface Operation {
  /** What is there before; besides it two artifacts in each of ws_a and ws_b that are not touched. */
  readonly given?: (keys: Keys) => Promise<unknown>;
  readonly run: (keys: Keys) => Promise<unknown>;
  /** What must be true when it is through. */
  readonly done: (keys: Keys, world: KeyWorld) => Promise<void>;
  readonly rootKeys?: (world: KeyWorld) => RootKeys;
  /** Artifacts of ws_a that are gone by it. */
  readonly destroysWorkspace?: true;
  /** How many writes it is at least. */
  readonly writes: number;
}

const operations: Record<string, Operation> = {
  "issue of a workspace's first key": {
    run: ({ ring }) => ring.issue("ws_new", "art_1"),
    done: async (keys, { journal }) => {
      const { keyId } = await keys.ring.issue("ws_new", "art_1");
      await openedKey(keys, "ws_new", "art_1");
      expect(journal.lines.filter((line) => line.startsWith("ws_new"))).toEqual([`ws_new rotated ${keyId}`]);
    },
    writes: 3,
  },
  "issue in a workspace that has a key": {
    run: ({ ring }) => ring.issue("ws_a", "art_new"),
    done: async (keys) => void (await openedKey(keys, "ws_a", "art_new")),
    writes: 1,
  },
  "issue to a recipient": {
    run: ({ ring }) => ring.issue("ws_a", "art_new", recipient),
    done: async (keys) => void (await openedKey(keys, "ws_a", "art_new")),
    writes: 1,
  },
  seal: {
    given: ({ ring }) => ring.issue("ws_a", "art_sealed", recipient),
    run: ({ ring }) => ring.seal("ws_a", "art_sealed"),
    done: async ({ ring }) =>
      expect(await ring.open("ws_a", "art_sealed")).toMatchObject({ state: "sealed", recipient }),
    writes: 1,
  },
  "rotation of a workspace": {
    given: async ({ ring }) => {
      await ring.issue("ws_a", "art_sealed", recipient);
      await ring.seal("ws_a", "art_sealed");
    },
    run: ({ care }) => care.rotateWorkspace("ws_a"),
    done: async ({ ring, care }) => {
      const [workspace] = await Array.fromAsync(care.workspaces());
      const newest = (await Array.fromAsync(care.workspaces())).find(({ workspaceId }) => workspaceId === "ws_a");
      expect(workspace).toBeDefined();
      expect(newest?.keys).toHaveLength(1);
      expect(newest?.retired.length).toBeGreaterThan(0);
      expect(await ring.open("ws_a", "art_sealed")).toMatchObject({ state: "sealed", recipient });
    },
    writes: 6,
  },
  "rotation of the root key": {
    rootKeys: ({ rootKey }) => ({ current: nextRoot, old: [rootKey] }),
    run: ({ care }) => care.rotateRoot(),
    done: async ({ care }) => {
      const roots = (await Array.fromAsync(care.workspaces())).flatMap(({ keys }) => keys.map(({ rootId }) => rootId));
      expect(new Set(roots)).toEqual(new Set([nextRoot.id]));
    },
    writes: 3,
  },
  "destruction of an artifact's key": {
    given: ({ ring }) => ring.issue("ws_a", "art_old"),
    run: ({ ring }) => ring.destroy("ws_a", "art_old"),
    done: async ({ ring }) => expect(await ring.open("ws_a", "art_old")).toEqual({ state: "destroyed" }),
    writes: 2,
  },
  "destruction of a workspace's keys": {
    run: ({ care }) => care.destroyWorkspace("ws_a", order),
    destroysWorkspace: true,
    done: async ({ ring }, { journal }) => {
      expect(await ring.open("ws_a", "art_1")).toEqual({ state: "destroyed" });
      expect(journal.lines.filter((line) => line.includes("destroyed"))).toHaveLength(1);
    },
    writes: 2,
  },
};

const cases = Object.entries(operations).flatMap(([name, operation]) =>
  (["before", "after"] as const).map((when) => ({ name, when, operation })),
);

test.each(cases)(
  "$name survives a death $when each of its writes, and the same again completes it",
  async ({ when, operation }) => {
    let points = 0;
    for (let at = 1; ; at++) {
      const world = createKeyWorld();
      const untouched = await issueUntouched(world);
      await operation.given?.(world.server());
      const rootKeys = operation.rootKeys?.(world) ?? { current: world.rootKey, old: [] };
      const failpoint = createFailpoint(at, when);
      const dying = world.server({
        rootKeys,
        store: failpoint.store(world.store),
        journal: failpoint.journal(world.journal),
      });
      const died = await operation.run(dying).then(
        () => false,
        (error: unknown) => {
          if (error instanceof Crash) return true;
          throw error;
        },
      );
      if (!died) {
        await operation.done(world.server({ rootKeys }), world);
        break;
      }
      points++;
      await expectUntouched(world, untouched, rootKeys, operation);
      await operation.run(world.server({ rootKeys }));
      await operation.done(world.server({ rootKeys }), world);
      await expectUntouched(world, untouched, rootKeys, operation, true);
    }
    expect(points).toBeGreaterThanOrEqual(operation.writes);
  },
);

/** Keys of artifacts that no operation is about. */
async function issueUntouched(world: KeyWorld): Promise<Map<string, string>> {
  const { ring } = world.server();
  const issued = new Map<string, string>();
  for (const workspaceId of ["ws_a", "ws_b"]) {
    for (const artifactId of ["art_1", "art_2"]) {
      issued.set(`${workspaceId} ${artifactId}`, hex((await ring.issue(workspaceId, artifactId)).key));
    }
  }
  return issued;
}

async function expectUntouched(
  world: KeyWorld,
  issued: ReadonlyMap<string, string>,
  rootKeys: RootKeys,
  { destroysWorkspace }: Operation,
  through = false,
): Promise<void> {
  for (const [name, key] of issued) {
    const [workspaceId = "", artifactId = ""] = name.split(" ");
    const found = await world.server({ rootKeys }).ring.open(workspaceId, artifactId);
    const seen = found.state === "open" ? hex(found.key) : found.state;
    const goes = destroysWorkspace === true && workspaceId === "ws_a";
    expect(goes ? [...(through ? [] : [key]), "destroyed"] : [key]).toContain(seen);
  }
}
