import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { KeyStore } from "../../src/keys/key-store.ts";
import { createKeyWorld, hex, openedKey } from "./world.ts";

/** A store each of whose requests arrives when the scheduler says so. */
function scheduled(store: KeyStore, scheduler: fc.Scheduler): KeyStore {
  const turn = <T>(act: () => Promise<T>): Promise<T> => scheduler.schedule(Promise.resolve()).then(act);
  return {
    get: (name) => turn(() => store.get(name)),
    create: (...given) => turn(() => store.create(...given)),
    update: (...given) => turn(() => store.update(...given)),
    remove: (name) => turn(() => store.remove(name)),
    async *entries(prefix, signal) {
      const entries = store.entries(prefix, signal)[Symbol.asyncIterator]();
      for (;;) {
        const next = await turn(() => entries.next());
        if (next.done === true) return;
        yield next.value;
      }
    },
  };
}

type Act = "issue" | "issue again" | "open" | "rotate" | "rotate root" | "destroy other" | "die while issuing";
const acts = fc.array(
  fc.constantFrom<Act>(
    "issue",
    "issue again",
    "open",
    "rotate",
    "rotate",
    "rotate root",
    "destroy other",
    "die while issuing",
  ),
  { minLength: 2, maxLength: 7 },
);

test("every key that was ever given out stays what it is, however servers and rotations interleave", async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), acts, async (scheduler, chosen) => {
      const world = createKeyWorld();
      const store = scheduled(world.store, scheduler);
      const given = new Map<string, string>();
      const noteText = (artifactId: string, key: string) => {
        expect(given.get(artifactId) ?? key).toBe(key);
        given.set(artifactId, key);
      };
      const note = (artifactId: string, key: Uint8Array) => noteText(artifactId, hex(key));
      const before = await world.server().ring.issue("ws_a", "art_before");
      note("art_before", before.key);
      await world.server().ring.issue("ws_a", "art_other");

      const act = async (name: Act, index: number): Promise<unknown> => {
        const { ring, care } = world.server({ store });
        switch (name) {
          case "issue":
            return note("art_shared", (await ring.issue("ws_a", "art_shared")).key);
          case "issue again":
            return note("art_before", (await ring.issue("ws_a", "art_before")).key);
          case "open":
            return noteText("art_before", await openedKey({ ring, care }, "ws_a", "art_before"));
          case "rotate":
            return care.rotateWorkspace("ws_a");
          case "rotate root":
            return care.rotateRoot();
          case "destroy other":
            return ring.destroy("ws_a", "art_other");
          case "die while issuing": {
            let writes = 0;
            const dying: KeyStore = {
              ...store,
              create: async (...values) => {
                await store.create(...values);
                throw new Error(`dies after write ${++writes}`);
              },
            };
            const { ring: dyingRing } = world.server({ store: dying });
            await dyingRing.issue("ws_a", `art_dead_${index % 2}`).catch(() => undefined);
            return note(`art_dead_${index % 2}`, (await ring.issue("ws_a", `art_dead_${index % 2}`)).key);
          }
        }
      };
      const results = Promise.all(chosen.map(act));
      await scheduler.waitFor(results);
      for (const [artifactId, key] of given) expect(await openedKey(world.server(), "ws_a", artifactId)).toBe(key);
      const [workspace] = await Array.fromAsync(world.server().care.workspaces());
      const unfinished = (workspace?.keys.length ?? 0) > 1;
      const other = await world.server().ring.open("ws_a", "art_other");
      expect({ unfinished, other: other.state }).toEqual({
        unfinished: false,
        other: chosen.includes("destroy other") ? "destroyed" : "open",
      });
    }),
    { numRuns: 400 },
  );
});
