import { type Access, createAccess } from "../access/access.ts";
import { createAccessLog } from "../access/access-log.ts";
import { createAttempts } from "../access/attempts.ts";
import { isOwner } from "../access/rights.ts";
import { createAdmission } from "../artifacts/admission.ts";
import { createArtifacts } from "../artifacts/artifacts.ts";
import { createContents } from "../artifacts/contents.ts";
import { createCopies } from "../artifacts/copies.ts";
import { artifactExpired, artifactNotFound } from "../artifacts/decider.ts";
import { createDownload } from "../artifacts/downloads.ts";
import { createGrants } from "../artifacts/grant-commands.ts";
import { defaultArtifactLimits as limits } from "../artifacts/limits.ts";
import { createLinks } from "../artifacts/link-commands.ts";
import { createMemorySessionStore } from "../artifacts/memory-session-store.ts";
import type { ArtifactParts } from "../artifacts/service.ts";
import { artifactAggregate, isAvailable, type KnownArtifact } from "../artifacts/state.ts";
import { createUploads } from "../artifacts/uploads.ts";
import { createUsage } from "../artifacts/usage.ts";
import { createMemoryBlobs } from "../blobs/memory.ts";
import { createBundles } from "../bundles/bundles.ts";
import { createAggregates } from "../eventlog/aggregates.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { IdSource } from "../kernel/ids.ts";
import { createKeyJournal } from "../keys/journal.ts";
import { createKeys } from "../keys/keys.ts";
import { createMemoryKeyStore } from "../keys/memory-key-store.ts";
import { createRootKey } from "../keys/root-key.ts";
import { newKey } from "../keys/wrapping.ts";
import type { PolicyBook } from "../policy/policy-book.ts";
import { createRunSide, type RunSideDeps } from "../runs/commands.ts";
import { evolveRun } from "../runs/resource.ts";
import { notInMemory } from "./absent-services.ts";
import { noPositions, noTables } from "./memory-gate.ts";
import { silent } from "./silent-logger.ts";
import type { TestClock } from "./test-clock.ts";

/** What artifacts stand on. */
export interface MemoryArtifactsDeps extends Omit<RunSideDeps, "log" | "limits"> {
  readonly log: EventLog;
  readonly book: PolicyBook;
  readonly clock: TestClock;
  readonly ids: IdSource;
}

const notThere = () => Promise.reject(notInMemory("the tables that this list is read from"));
const noServer = () => Promise.reject(notInMemory("the server that serves URLs"));

/** The artifacts of a test: those of production, sealed with keys and kept in bytes that last as long as it does. */
export function createMemoryArtifacts({ log, book, clock, ids, ...run }: MemoryArtifactsDeps): ArtifactParts {
  const blobs = createMemoryBlobs(clock);
  const store = createMemoryKeyStore();
  const rootKeys = { current: createRootKey(newKey()), old: [] };
  const { ring: keys } = createKeys({ store, rootKeys, journal: createKeyJournal({ log, clock, ids }), clock, ids });
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  // A test looks at what its run did.
  const alarm = () => {};
  const contents = createContents({ blobs, keys, alarm, clock });
  const runs = createRunSide({ ...run, log, limits });
  // What is recorded is held until a table shows it, and here none ever does: so all of it counts.
  const usage = createUsage({ total: async () => ({ sizeBytes: 0n, position: 0n }), limits });
  const admission = createAdmission({ aggregates, copies: createCopies(aggregates), runs, usage, limits, clock, ids });

  async function load(workspaceId: string, artifactId: string) {
    return (await aggregates.load(workspaceId, artifactId)).state;
  }

  const access: Access<KnownArtifact> = createAccess({
    shelf: {
      async find(workspaceId, artifactId) {
        const state = await load(workspaceId, artifactId);
        return state.status === "absent" ? undefined : state;
      },
      missing: artifactNotFound,
      gone: (known, now) => (isAvailable(known, now) ? undefined : artifactExpired(known)),
    },
    attempts: createAttempts({
      accessLog: createAccessLog({ log, clock, ids }),
      // The clock stands still, so that nobody would ever be let in again.
      rateLimit: { take: () => ({ allowed: true, repeatedCount: 0 }) },
    }),
    rolesOf: async (workspaceId) => (await book.present(workspaceId)).policy.roles,
    clock,
  });
  return {
    artifacts: createArtifacts({
      aggregates,
      runs,
      db: noTables,
      positions: noPositions,
      limits,
      isOwner,
      blobs,
      keys,
    }),
    uploads: createUploads({
      admission,
      load,
      blobs,
      keys,
      sessions: createMemorySessionStore(),
      usage,
      alarm,
      clock,
      log: silent,
    }),
    download: createDownload({ access, contents }),
    grants: createGrants({ aggregates, ids, clock }),
    links: createLinks({ aggregates, access, ids }),
    challenges: { create: noServer, answer: noServer },
    accessList: { list: notThere },
    bundles: createBundles({ log, evolveRun, artifacts: aggregates, access, contents }),
  };
}
