import { fromBinary } from "@bufbuild/protobuf";
import { EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import type { LogStore } from "../../../src/eventlog/log-store.ts";
import type { Mutant, ProgramOptions } from "./program.ts";
import type { ArtifactWorld } from "./world.ts";

const wrongs: Readonly<Record<string, Mutant>> = {
  "an event may come before its bytes": ({ blobs }) => ({
    blobs: {
      ...blobs,
      async put(name, bytes) {
        const held: Uint8Array<ArrayBuffer>[] = [];
        for await (const piece of bytes) held.push(Uint8Array.from(piece));
        void blobs.put(name, new Blob(held).stream());
      },
    },
  }),
  "bytes go before the event that says so": ({ store, blobs }, world) => ({
    store: beforePurged(store, world, async (names) => {
      for (const name of names) await blobs.remove(name);
      // It takes its time, so that somebody sees it.
      for (let turn = 0; turn < 10; turn++) await store.bounds();
    }),
  }),
  "the sweep does not look at what runs have added": ({ db }) => ({
    db: {
      async query(statement) {
        const result = await db.query(statement);
        return statement.name === "artifacts_in_run" ? { ...result, rows: [] } : (result as never);
      },
    },
  }),
  "the sweep does not look at how old bytes are": () => ({ orphanGraceMs: 0 }),
  "purging forgets the key": () => ({ spoilKeys: (keys) => ({ ...keys, destroy: async () => {} }) }),
  "purging forgets the bytes": ({ blobs }) => ({ blobs: { ...blobs, remove: async () => {} } }),
  "a rotation gives keys up that still wrap something": ({ keyStore }) => ({
    keyStore: { ...keyStore, async *entries() {} },
  }),
};

/** What shows it soon, where a program of everything would take long. */
const only: Readonly<Record<string, readonly string[]>> = {
  "bytes go before the event that says so": ["upload", "remove"],
  "the sweep does not look at what runs have added": ["upload", "sweep orphans"],
};

/** Ways to be wrong that I9 is against, and programs that show it, by words that go on "it is wrong when …". */
export const mutants: readonly (ProgramOptions & { readonly when: string })[] = Object.entries(wrongs).map(
  ([when, mutant]) => ({ when, mutant, ...(only[when] && { only: only[when] }) }),
);

/** The log, with something done to the blobs of an artifact right before artifact.purged is recorded. */
function beforePurged(store: LogStore, world: ArtifactWorld, act: (blobs: string[]) => Promise<void>): LogStore {
  return {
    ...store,
    async publish(publication) {
      const { payload, stream } = fromBinary(EventSchema, publication.body);
      if (payload.case === "artifactPurged") await act(blobsOf(world, stream?.id ?? ""));
      return store.publish(publication);
    },
  };
}

function blobsOf(world: ArtifactWorld, artifactId: string): string[] {
  return world.events().flatMap(({ event: { payload, stream } }) => {
    const isIts = payload.case === "artifactCreated" && stream?.id === artifactId;
    return isIts ? payload.value.parts.map(({ blob }) => blob) : [];
  });
}
