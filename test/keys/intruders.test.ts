import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import type { KeyStore } from "../../src/keys/key-store.ts";
import type { Keys } from "../../src/keys/keys.ts";
import { createKeyWorld, hex, type KeyWorld, openedKey, order } from "./world.ts";

const recipient = await identityToRecipient(await generateX25519Identity());

/** A store that lets something happen before the nth request, and dies at once after its nth write if told so. */
function intruded(store: KeyStore, before: number, intrude: () => Promise<unknown>, diesAfterCreate = false) {
  let requests = 0;
  const turn = async () => {
    if (++requests === before) await intrude();
  };
  const intrudedStore: KeyStore = {
    get: async (name) => {
      await turn();
      return store.get(name);
    },
    create: async (...given) => {
      await turn();
      const created = await store.create(...given);
      if (diesAfterCreate) throw new Error("dead");
      return created;
    },
    update: async (...given) => {
      await turn();
      return store.update(...given);
    },
    remove: async (name) => {
      await turn();
      return store.remove(name);
    },
    async *entries(prefix, signal) {
      await turn();
      for await (const entry of store.entries(prefix, signal)) {
        yield entry;
        await turn();
      }
    },
  };
  return { store: intrudedStore, requests: () => requests };
}

/** What an operation returns is a key of `art_new` or `art_1`, or nothing. */
const operations: Record<string, (keys: Keys) => Promise<Readonly<Record<string, string>>>> = {
  "issue anew": async ({ ring }) => ({ art_new: hex((await ring.issue("ws_a", "art_new")).key) }),
  "issue again": async ({ ring }) => ({ art_1: hex((await ring.issue("ws_a", "art_1")).key) }),
  open: async (keys) => ({ art_1: await openedKey(keys, "ws_a", "art_1") }),
  seal: async ({ ring }) => {
    await ring.seal("ws_a", "art_sealed");
    expect(await ring.open("ws_a", "art_sealed")).toMatchObject({ state: "sealed" });
    return {};
  },
  "rotate the workspace": async ({ care }) => {
    await care.rotateWorkspace("ws_a");
    return {};
  },
  "rotate the root": async ({ care }) => {
    await care.rotateRoot();
    return {};
  },
  "destroy another": async ({ ring }) => {
    await ring.destroy("ws_a", "art_other");
    expect(await ring.open("ws_a", "art_other")).toEqual({ state: "destroyed" });
    return {};
  },
};
const intruders: Record<string, (keys: Keys) => Promise<unknown>> = {
  "a rotation": ({ care }) => care.rotateWorkspace("ws_a"),
  "two rotations": async ({ care }) => {
    await care.rotateWorkspace("ws_a");
    await care.rotateWorkspace("ws_a");
  },
  "half a rotation": async ({ care }) => {
    const stop = new AbortController();
    const onProgress = () => stop.abort();
    await care.rotateWorkspace("ws_a", { signal: stop.signal, onProgress }).catch(() => undefined);
  },
  "another issue": async ({ ring }) => {
    await ring.issue("ws_a", "art_new");
    await ring.issue("ws_a", "art_third");
  },
};
const cases = Object.keys(operations).flatMap((operation) =>
  Object.keys(intruders).map((intruder) => ({ operation, intruder })),
);

async function furnish(world: KeyWorld): Promise<Map<string, string>> {
  const { ring } = world.server();
  const issued = new Map<string, string>();
  for (const artifactId of ["art_1", "art_2"]) issued.set(artifactId, hex((await ring.issue("ws_a", artifactId)).key));
  await ring.issue("ws_a", "art_other");
  await ring.issue("ws_a", "art_sealed", recipient);
  return issued;
}

test.each(cases)("$operation goes well with $intruder at any moment of it", async ({ operation, intruder }) => {
  for (let before = 1; ; before++) {
    const world = createKeyWorld();
    const issued = await furnish(world);
    const { store, requests } = intruded(world.store, before, async () => intruders[intruder]?.(world.server()));
    const result = await operations[operation]?.(world.server({ store }));
    for (const [artifactId, key] of Object.entries(result ?? {})) {
      expect(issued.get(artifactId) ?? key).toBe(key);
      issued.set(artifactId, key);
    }
    for (const [artifactId, key] of issued) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
    // A rotation that comes later finds everything too.
    await world.server().care.rotateWorkspace("ws_a");
    for (const [artifactId, key] of issued) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
    if (requests() < before) break;
  }
});

test("a key that was left behind by a death, under a workspace key that a rotation gave up, is replaced", async () => {
  for (const destroys of [false, true]) {
    const world = createKeyWorld();
    await furnish(world);
    // The third request of an issue writes the record: the rotation comes before it, the death after it.
    const intrude = () =>
      destroys ? world.server().care.destroyWorkspace("ws_a", order) : world.server().care.rotateWorkspace("ws_a");
    const { store } = intruded(world.store, 3, intrude, true);
    await expect(world.server({ store }).ring.issue("ws_a", "art_new")).rejects.toThrow("dead");
    const state = destroys ? "destroyed" : "missing";
    expect(await world.server().ring.open("ws_a", "art_new")).toEqual({ state });
    const again = await world.server().ring.issue("ws_a", "art_new");
    expect(await openedKey(world.server(), "ws_a", "art_new")).toBe(hex(again.key));
    await world.server().care.rotateWorkspace("ws_a");
    expect(await openedKey(world.server(), "ws_a", "art_new")).toBe(hex(again.key));
  }
});

test("a key is not given out under a workspace key that a rotation is about to give up", async () => {
  const world = createKeyWorld();
  await furnish(world);
  const atTheEnd = Promise.withResolvers<undefined>();
  const mayEnd = Promise.withResolvers<undefined>();
  let updates = 0;
  const slow: KeyStore = {
    ...world.store,
    update: async (name, ...rest) => {
      if (name.startsWith("workspace.") && ++updates === 2) {
        atTheEnd.resolve(undefined);
        await mayEnd.promise;
      }
      return world.store.update(name, ...rest);
    },
  };
  let rotating: Promise<unknown> = Promise.resolve();
  const { store } = intruded(world.store, 3, async () => {
    rotating = world.server({ store: slow }).care.rotateWorkspace("ws_a");
    await atTheEnd.promise;
  });
  const { key } = await world.server({ store }).ring.issue("ws_a", "art_new");
  mayEnd.resolve(undefined);
  await rotating;
  expect(await openedKey(world.server(), "ws_a", "art_new")).toBe(hex(key));
});
