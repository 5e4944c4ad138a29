import { type Access, createAccess, type Shelf } from "../access/access.ts";
import { accessKeys } from "../access/access-keys.ts";
import { createAccessList } from "../access/access-list.ts";
import { createAccessLog } from "../access/access-log.ts";
import { createAttempts } from "../access/attempts.ts";
import { catchUpWithLog } from "../access/catch-up.ts";
import { createChallenges } from "../access/challenges.ts";
import { createDownloads, type Downloads } from "../access/downloads.ts";
import { openNonces } from "../access/nonces.ts";
import { findLink } from "../access/queries.ts";
import { createRateLimit } from "../access/rate-limit.ts";
import { isOwner } from "../access/rights.ts";
import { createAdmission } from "../artifacts/admission.ts";
import { createArtifacts } from "../artifacts/artifacts.ts";
import { type Contents, createContents } from "../artifacts/contents.ts";
import { createCopies } from "../artifacts/copies.ts";
import { artifactExpired, artifactNotFound } from "../artifacts/decider.ts";
import { createDownload } from "../artifacts/downloads.ts";
import { createGrants } from "../artifacts/grant-commands.ts";
import type { ArtifactLimits } from "../artifacts/limits.ts";
import { createLinks } from "../artifacts/link-commands.ts";
import { storedTotal } from "../artifacts/queries.ts";
import type { ArtifactReactorOptions, SweepIntervals } from "../artifacts/reactor.ts";
import type { ArtifactParts } from "../artifacts/service.ts";
import { openSessionStore } from "../artifacts/session-store.ts";
import { artifactAggregate, type ArtifactState, isAvailable, type KnownArtifact } from "../artifacts/state.ts";
import { createUploads } from "../artifacts/uploads.ts";
import { createUsage } from "../artifacts/usage.ts";
import type { BlobStore } from "../blobs/blob-store.ts";
import { createBundles } from "../bundles/bundles.ts";
import { type Aggregates, createAggregates } from "../eventlog/aggregates.ts";
import type { Feed } from "../eventlog/feed.ts";
import type { OpenAlarm } from "../incidents/alarm.ts";
import { createLeaseTokens } from "../jobs/lease-token.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { KeyRing } from "../keys/key-ring.ts";
import type { PolicyBook } from "../policy/policy-book.ts";
import type { Positions } from "../readmodel/positions.ts";
import { createRunSide, type RunSide } from "../runs/commands.ts";
import { createLeasedRuns } from "../runs/leased-runs.ts";
import { evolveRun } from "../runs/resource.ts";
import type { RunState } from "../runs/state.ts";
import type { BlobSettings } from "./blob-settings.ts";
import { openBlobs } from "./blobs.ts";
import { openKeys } from "./keys.ts";
import type { RootKeySettings } from "./root-keys.ts";
import type { ServeOptions } from "./serve.ts";
import { type Stores, streamName } from "./stores.ts";

/** Where artifacts are kept, how much of them, what wraps their keys, and who may ask how often. */
export interface ArtifactOptions {
  readonly blobs: BlobSettings;
  readonly rootKeys: RootKeySettings;
  /** What a root key command sees. */
  readonly env: NodeJS.ProcessEnv;
  readonly limits: ArtifactLimits;
  /** How often one caller may ask for bytes. */
  readonly accessesPerMinute: number;
  /** How others reach the server, without a slash at the end; undefined for what requests say. */
  readonly publicUrl: string | undefined;
  /** Defaults as in production. */
  readonly sweepIntervals?: Partial<SweepIntervals>;
}

/** What artifacts are wired from. */
export interface ArtifactWiring extends Stores {
  readonly feed: Feed;
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
  readonly book: PolicyBook;
  readonly alarm: OpenAlarm;
}

/** What a server has of artifacts. */
export interface ServedArtifacts extends ArtifactParts {
  /** Artifacts by URL. */
  readonly downloads: Downloads;
  /** Whether the bytes of an artifact can be read now. */
  readonly isReadable: (workspaceId: string, artifactId: string) => Promise<boolean>;
}

/** The artifacts of a process, for callers and for the reactor alike. Disposing it closes the store. */
export interface WiredArtifacts extends AsyncDisposable {
  /** For a server. Opens what uploads and challenges are remembered in. */
  serving(): Promise<ServedArtifacts>;
  readonly reacting: Pick<
    ArtifactReactorOptions,
    "aggregates" | "copies" | "runs" | "blobs" | "keys" | "clock" | "ids" | "graceMs" | "intervals"
  >;
}

/** What all parts stand on. */
interface Base extends ArtifactWiring {
  readonly options: ServeOptions;
  readonly artifacts: Aggregates<ArtifactState>;
  readonly runs: RunSide;
  readonly blobs: BlobStore;
  readonly keys: KeyRing;
  readonly contents: Contents;
}

/** Opens the store and the keys. Throws a CliError when they can not be used. */
export async function wireArtifacts(wiring: ArtifactWiring, options: ServeOptions): Promise<WiredArtifacts> {
  const { replicas, secret, log: logger } = options;
  const { blobs: settings, rootKeys, env, limits, sweepIntervals } = options.artifacts;
  const { log, nats, prefix, aggregates, alarm } = wiring;
  await using opening = new AsyncDisposableStack();
  const { ring: keys } = await openKeys({ stores: wiring, settings: rootKeys, replicas, clock, ids, env });
  const blobs = opening.use(await openBlobs(settings, { nats, prefix, replicas, log: logger }));
  const artifacts = createAggregates(artifactAggregate, { log, clock, ids });
  const leased = createLeasedRuns({ aggregates, alarm });
  const runs = createRunSide({ aggregates, leased, tokens: createLeaseTokens(secret), log, limits });
  const contents = createContents({ blobs, keys, alarm: alarm.artifactDamaged, clock });
  const base: Base = { ...wiring, options, artifacts, runs, blobs, keys, contents };
  const open = opening.move();
  return {
    serving: () => wireServing(base),
    reacting: {
      aggregates: artifacts,
      copies: createCopies(artifacts),
      runs,
      blobs,
      keys,
      clock,
      ids,
      graceMs: limits.graceMs,
      ...(sweepIntervals === undefined ? {} : { intervals: sweepIntervals }),
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function wireServing(base: Base): Promise<ServedArtifacts> {
  const { options, artifacts: aggregates, runs, blobs, keys, contents, positions, log, alarm } = base;
  const { db } = base.postgres;
  const { limits } = options.artifacts;
  const usage = createUsage({ total: (workspaceId) => storedTotal(db, workspaceId), limits });
  const copies = createCopies(aggregates);
  const admission = createAdmission({ aggregates, copies, runs, usage, limits, clock, ids });
  const { access, ...guarded } = await wireAccess(base);
  return {
    ...guarded,
    artifacts: createArtifacts({ aggregates, runs, db, positions, limits, isOwner, blobs, keys }),
    uploads: createUploads({
      admission,
      load: async (workspaceId, artifactId) => (await aggregates.load(workspaceId, artifactId)).state,
      blobs,
      keys,
      sessions: await openSessionStore({ ...bucketOf(base, "UPLOADS"), nats: base.nats }),
      usage,
      alarm: alarm.artifactDamaged,
      clock,
      log: options.log,
    }),
    download: createDownload({ access, contents }),
    grants: createGrants({ aggregates, ids, clock }),
    links: createLinks({ aggregates, access, ids }),
    async isReadable(workspaceId, artifactId) {
      const { state } = await aggregates.load(workspaceId, artifactId);
      return state.status !== "absent" && isAvailable(state, clock.now());
    },
    bundles: createBundles({ log, evolveRun, artifacts: aggregates, access, contents }),
  };
}

async function wireAccess(base: Base) {
  const { options, artifacts, book, positions, contents, log } = base;
  const { db } = base.postgres;
  const { accessesPerMinute, publicUrl } = options.artifacts;
  const keys = accessKeys(options.secret);
  const rateLimit = createRateLimit({ clock, perMinute: accessesPerMinute });
  const attempts = createAttempts({ accessLog: createAccessLog({ log, clock, ids }), rateLimit });
  const shelf = createShelf(artifacts);
  const guard = {
    shelf,
    attempts,
    clock,
    rolesOf: async (workspaceId: string) => (await book.present(workspaceId)).policy.roles,
  };
  const access: Access<KnownArtifact> = createAccess(guard);
  const nonces = await openNonces({ ...bucketOf(base, "NONCES"), nats: base.nats });
  return {
    access,
    accessList: createAccessList({ db, positions }),
    challenges: createChallenges({ shelf, attempts, rateLimit, nonces, clock, keys, publicUrl }),
    downloads: createDownloads({
      ...guard,
      urlKey: keys.url,
      rateLimit,
      findLink: (tokenDigest) => findLink(db, tokenDigest),
      catchUp: () => catchUpWithLog({ log, positions }),
      openContents: (known, span, signal) => contents.open(known, span, signal),
    }),
  };
}

/** Artifacts as access looks at them. */
function createShelf(aggregates: Aggregates<ArtifactState>): Shelf<KnownArtifact> {
  return {
    async find(workspaceId, artifactId) {
      const { state } = await aggregates.load(workspaceId, artifactId);
      return state.status === "absent" ? undefined : state;
    },
    missing: artifactNotFound,
    gone: (known, now) => (isAvailable(known, now) ? undefined : artifactExpired(known)),
  };
}

function bucketOf({ prefix, options: { replicas } }: Base, name: string): { bucket: string; replicas: number } {
  return { bucket: streamName(name, prefix), replicas };
}
