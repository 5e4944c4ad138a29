import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { PrincipalSchema, PrincipalType, Zone } from "../../../gen/signalbox/v1/common_pb.ts";
import { CreateRunRequestSchema } from "../../../gen/signalbox/v1/run_service_pb.ts";
import { isOwner } from "../../../src/access/rights.ts";
import { createAdmission } from "../../../src/artifacts/admission.ts";
import { createArtifacts } from "../../../src/artifacts/artifacts.ts";
import { createContents, type Damage } from "../../../src/artifacts/contents.ts";
import { createCopies } from "../../../src/artifacts/copies.ts";
import { type ArtifactLimits, defaultArtifactLimits } from "../../../src/artifacts/limits.ts";
import { createMemorySessionStore } from "../../../src/artifacts/memory-session-store.ts";
import { sweepOrphans } from "../../../src/artifacts/orphans.ts";
import { storedTotal } from "../../../src/artifacts/queries.ts";
import { type SessionStore, sessionTtlMs } from "../../../src/artifacts/session-store.ts";
import { artifactAggregate } from "../../../src/artifacts/state.ts";
import { createSweeps } from "../../../src/artifacts/sweeps.ts";
import { createUploads } from "../../../src/artifacts/uploads.ts";
import { createUsage } from "../../../src/artifacts/usage.ts";
import type { BlobStore } from "../../../src/blobs/blob-store.ts";
import { createMemoryBlobs } from "../../../src/blobs/memory.ts";
import { createAggregates } from "../../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../../src/eventlog/event-log.ts";
import type { LogStore } from "../../../src/eventlog/log-store.ts";
import { createMemoryStore } from "../../../src/eventlog/memory-store.ts";
import type { StoredMessage } from "../../../src/eventlog/record.ts";
import { createSubjects } from "../../../src/eventlog/subjects.ts";
import { createLeaseTokens } from "../../../src/jobs/lease-token.ts";
import type { Call } from "../../../src/kernel/call.ts";
import type { Clock } from "../../../src/kernel/clock.ts";
import { randomIds as ids } from "../../../src/kernel/ids.ts";
import { createKeyJournal } from "../../../src/keys/journal.ts";
import type { KeyRing } from "../../../src/keys/key-ring.ts";
import type { KeyStore } from "../../../src/keys/key-store.ts";
import { createKeys } from "../../../src/keys/keys.ts";
import { createMemoryKeyStore } from "../../../src/keys/memory-key-store.ts";
import { createRootKey } from "../../../src/keys/root-key.ts";
import type { Db } from "../../../src/readmodel/postgres.ts";
import { createRunSide } from "../../../src/runs/commands.ts";
import { cancelRun, createRun } from "../../../src/runs/decider.ts";
import { createLeasedRuns } from "../../../src/runs/leased-runs.ts";
import { completeRetryPolicy } from "../../../src/runs/retry-policy.ts";
import { runAggregate } from "../../../src/runs/state.ts";
import { silent } from "../../../src/testing/silent-logger.ts";
import { decodeLog, type LogEvent, type Violation } from "../../support/invariants.ts";
import { checkArtifacts } from "../support/artifact-invariants.ts";
import { createTables, type Tables } from "./tables.ts";

/** What outlives every process. */
export interface Durable {
  readonly store: LogStore;
  readonly blobs: BlobStore;
  readonly keyStore: KeyStore;
  readonly sessions: SessionStore;
  readonly db: Db;
}

/** A clock that stands until somebody lets time pass. */
export interface StandingClock extends Clock {
  pass(ms: number): void;
}

/** An installation in memory, without processes yet. */
export interface ArtifactWorld extends Durable {
  readonly clock: StandingClock;
  /** The keys as they are, without any process. */
  readonly keys: KeyRing;
  readonly tables: Tables;
  /** What readers have found damaged. */
  readonly damages: Damage[];
  /** Events that were stored before the bytes they name. */
  readonly early: Violation[];
  events(): LogEvent[];
  /** A process that knows nothing yet; what is given stands in for stores, keys and limits of the world. */
  process(own?: Partial<Durable> & { readonly spoilKeys?: Spoil<KeyRing>; readonly orphanGraceMs?: number }): Process;
  /** I9 as things are now. */
  check(options?: { readonly swept?: boolean }): Promise<Violation[]>;
}

/** Makes something else of something. */
export type Spoil<T> = (honest: T) => T;

/** Limits that a handful of files comes up to. */
export const narrowLimits: ArtifactLimits = { ...defaultArtifactLimits, maxRunArtifacts: 3 };

/** Never ends by itself. */
const never = new AbortController().signal;

/** Opens the stores of an installation. */
export function openArtifactWorld(): ArtifactWorld {
  let nowMs = Date.parse("2026-05-01T12:00:00Z");
  const clock = { now: () => new Date(nowMs), pass: (ms: number) => void (nowMs += ms) };
  const messages: StoredMessage[] = [];
  const memory = createMemoryStore();
  const keyStore = createMemoryKeyStore();
  const blobs = createMemoryBlobs(clock);
  const early: Violation[] = [];
  const rootKeys = { current: createRootKey(randomBytes(32)), old: [] };
  let decoded: LogEvent[] = [];
  const events = () => (decoded = [...decoded, ...decodeLog(messages.slice(decoded.length))]);
  const journal = { rotated: async () => {}, destroyed: async () => {} };
  const { ring } = createKeys({ store: keyStore, rootKeys, journal, clock, ids });
  const store: LogStore = {
    ...memory,
    async publish(publication) {
      const outcome = await memory.publish(publication);
      if (outcome.status !== "stored") return outcome;
      const { subject, body, prevHash, hash } = publication;
      messages.push({ position: outcome.position, subject, body, prevHash, hash });
      early.push(...(await checkArtifacts(events().slice(-1), { blobs, keys: ring })));
      return outcome;
    },
  };
  const tables = createTables(events);
  const durable = { store, blobs, keyStore, sessions: forgetful(clock), db: tables.db };
  const damages: Damage[] = [];
  return {
    ...durable,
    clock,
    keys: ring,
    tables,
    damages,
    early,
    events,
    process: ({ spoilKeys, orphanGraceMs, ...own } = {}) =>
      createProcess({ ...durable, ...own }, { clock, rootKeys, damages, spoilKeys, orphanGraceMs }),
    check: (options) => checkArtifacts(events(), { blobs, keys: ring }, options),
  };
}

interface ProcessSettings {
  readonly clock: Clock;
  readonly rootKeys: Parameters<typeof createKeys>[0]["rootKeys"];
  readonly damages: Damage[];
  readonly spoilKeys: Spoil<KeyRing> | undefined;
  readonly orphanGraceMs: number | undefined;
}

function createProcess(durable: Durable, settings: ProcessSettings) {
  const { blobs, db } = durable;
  const { clock, rootKeys, damages, spoilKeys = (keys) => keys, orphanGraceMs } = settings;
  const limits = narrowLimits;
  const log = createEventLog(durable.store, createSubjects("sb"));
  const journal = createKeyJournal({ log, clock, ids });
  const { ring, care } = createKeys({ store: durable.keyStore, rootKeys, journal, clock, ids });
  const keys = spoilKeys(ring);
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  const runs = createAggregates(runAggregate, { log, clock, ids });
  const leased = createLeasedRuns({ aggregates: runs, alarm: { fencedWrite: () => {}, payloadMismatch: () => {} } });
  const tokens = createLeaseTokens(new Uint8Array(32));
  const runSide = createRunSide({ aggregates: runs, leased, tokens, log, limits });
  const copies = createCopies(aggregates);
  const usage = createUsage({ total: (workspaceId) => storedTotal(db, workspaceId), limits });
  const admission = createAdmission({ aggregates, copies, runs: runSide, usage, limits, clock, ids });
  const alarm = (damage: Damage) => void damages.push(damage);
  const load = async (workspaceId: string, artifactId: string) =>
    (await aggregates.load(workspaceId, artifactId)).state;
  const positions = { reach: async () => {} };
  const shared = { aggregates, blobs, keys, db, clock, log: silent };
  return {
    runs,
    care,
    load,
    uploads: createUploads({
      admission,
      load,
      blobs,
      keys,
      sessions: durable.sessions,
      usage,
      alarm,
      clock,
      log: silent,
    }),
    contents: createContents({ blobs, keys, alarm, clock }),
    artifacts: createArtifacts({ ...shared, runs: runSide, positions, limits, isOwner }),
    sweeps: createSweeps({ ...shared, copies, runs: runSide, ids, graceMs: limits.graceMs }),
    sweepOrphans: (graceMs = orphanGraceMs) => sweepOrphans({ ...shared, orphanGraceMs: graceMs }, never),
  };
}

/** A server, a reactor and an operator in one. */
export type Process = ReturnType<typeof createProcess>;

/** A call of the workspace's only user. */
export function callIn(workspaceId: string): Call {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "ada" });
  return { workspaceId, principal, correlationId: ids.next("corr"), traceparent: "", signal: never };
}

/** A run that nobody works on. */
export async function queueRun({ runs }: Pick<Process, "runs">, call: Call): Promise<string> {
  const runId = ids.next("run");
  const newRun = {
    runId,
    request: create(CreateRunRequestSchema, { handler: "echo" }),
    handler: "echo",
    zone: Zone.SUPERVISED,
    retryPolicy: completeRetryPolicy(undefined),
    maxDuration: undefined,
    budget: undefined,
    depth: 0,
    base: undefined,
    requestDigest: new Uint8Array(),
  };
  const creation = { roomId: "", repeatable: false };
  await runs.execute({ call, id: runId, creation, decide: (state) => createRun(state, newRun) });
  return runId;
}

/** Ends a run. */
export async function endRun({ runs }: Pick<Process, "runs">, call: Call, runId: string): Promise<void> {
  await runs.execute({ call, id: runId, decide: (state) => cancelRun(state, runId, "not needed any more") });
}

/** What is remembered of uploads is forgotten in its time, as NATS does it. */
function forgetful(clock: Clock): SessionStore {
  const memory = createMemorySessionStore();
  const written = new Map<string, number>();
  const forget = async (key: string) => {
    if ((written.get(key) ?? Infinity) <= clock.now().getTime() - sessionTtlMs) await memory.remove(key);
  };
  const noted = async (key: string, isWritten: Promise<boolean>) => {
    const done = await isWritten;
    if (done) written.set(key, clock.now().getTime());
    return done;
  };
  return {
    async create(key, value) {
      await forget(key);
      return noted(key, memory.create(key, value));
    },
    async replace(key, value, revision) {
      await forget(key);
      return noted(key, memory.replace(key, value, revision));
    },
    async get(key) {
      await forget(key);
      return memory.get(key);
    },
    remove: (key, revision) => memory.remove(key, revision),
    async keys(prefix) {
      for (const key of await memory.keys(prefix)) await forget(key);
      return memory.keys(prefix);
    },
  };
}
