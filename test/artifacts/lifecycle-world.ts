import { createHash, randomBytes } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { CreateArtifactRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { StepKind } from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { isOwner } from "../../src/access/rights.ts";
import { createAdmission } from "../../src/artifacts/admission.ts";
import { createArtifacts } from "../../src/artifacts/artifacts.ts";
import { createContents } from "../../src/artifacts/contents.ts";
import { createCopies } from "../../src/artifacts/copies.ts";
import { type ArtifactLimits, defaultArtifactLimits } from "../../src/artifacts/limits.ts";
import { createMemorySessionStore } from "../../src/artifacts/memory-session-store.ts";
import { artifactProjections } from "../../src/artifacts/projection.ts";
import { storedTotal } from "../../src/artifacts/queries.ts";
import { artifactAggregate, type KnownArtifact } from "../../src/artifacts/state.ts";
import { createSweeps } from "../../src/artifacts/sweeps.ts";
import { sweepOrphans } from "../../src/artifacts/orphans.ts";
import { createUploads } from "../../src/artifacts/uploads.ts";
import { createUsage } from "../../src/artifacts/usage.ts";
import type { BlobStore } from "../../src/blobs/blob-store.ts";
import { createMemoryBlobs } from "../../src/blobs/memory.ts";
import { type Aggregates, createAggregates } from "../../src/eventlog/aggregates.ts";
import type { EventLog } from "../../src/eventlog/event-log.ts";
import { openFeed } from "../../src/eventlog/feed.ts";
import { createLeaseTokens } from "../../src/jobs/lease-token.ts";
import { createKeyJournal } from "../../src/keys/journal.ts";
import type { KeyRing } from "../../src/keys/key-ring.ts";
import { createKeys } from "../../src/keys/keys.ts";
import { createMemoryKeyStore } from "../../src/keys/memory-key-store.ts";
import { createRootKey } from "../../src/keys/root-key.ts";
import type { Call } from "../../src/kernel/call.ts";
import { derivedId, randomIds as ids } from "../../src/kernel/ids.ts";
import { createPositions } from "../../src/readmodel/positions.ts";
import { runProjector } from "../../src/readmodel/projector-loop.ts";
import { createRunSide } from "../../src/runs/commands.ts";
import { cancelRun, createRun } from "../../src/runs/decider.ts";
import { claimRun } from "../../src/runs/lease-decider.ts";
import { createLeasedRuns } from "../../src/runs/leased-runs.ts";
import { runProjections } from "../../src/runs/projection.ts";
import { completeRetryPolicy } from "../../src/runs/retry-policy.ts";
import { runAggregate, type RunState } from "../../src/runs/state.ts";
import { startStep } from "../../src/runs/step-decider.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { openTestBackend } from "../support/backend.ts";

/** Never ends by itself. */
export const never = new AbortController().signal;

/** The log, the tables and the stores of a test file; blobs and keys are in memory, their clock is the test's. */
export async function openStage() {
  await using opening = new AsyncDisposableStack();
  const backend = opening.use(await openTestBackend());
  const { nats, postgres, log, schema, prefix, logger } = backend;
  const feed = opening.use(await openFeed(log, logger));
  const positions = opening.use(createPositions({ nats, postgres, subject: `${prefix}.projected` }));
  const stop = new AbortController();
  const projecting = runProjector({
    postgres,
    schema,
    feed,
    positions,
    log: logger,
    projections: [...runProjections, ...artifactProjections],
    signal: stop.signal,
  });
  opening.defer(async () => {
    stop.abort();
    await projecting;
  });
  const clock = { time: new Date("2026-05-01T12:00:00Z"), now: () => clock.time };
  const blobs = createMemoryBlobs(clock);
  const rootKeys = { current: createRootKey(randomBytes(32)), old: [] };
  const journal = createKeyJournal({ log, clock, ids });
  const { ring: keys } = createKeys({ store: createMemoryKeyStore(), rootKeys, journal, clock, ids });
  const sessions = createMemorySessionStore();
  const open = opening.move();
  const stage = {
    ...backend,
    feed,
    positions,
    clock,
    blobs,
    keys,
    sessions,
    /** The tables have everything that is in the log now. */
    async settled() {
      const { head } = await log.bounds();
      await positions.reach(head, never);
    },
    /** Time passes. */
    pass(ms: number) {
      clock.time = new Date(clock.time.getTime() + ms);
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
  return stage;
}

/** What `openStage` opens. */
export type Stage = Awaited<ReturnType<typeof openStage>>;

/** What a process may find in the place of what is durable. */
export interface Durable {
  readonly log: EventLog;
  readonly blobs: BlobStore;
  readonly keys: KeyRing;
}

/** A process on a stage: nothing of it outlives it. */
export function createProcess(stage: Stage, durable: Partial<Durable> = {}, limits: Partial<ArtifactLimits> = {}) {
  const { clock, positions, postgres, logger } = stage;
  const { log = stage.log, blobs = stage.blobs, keys = stage.keys } = durable;
  const all = { ...defaultArtifactLimits, ...limits };
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  const runs: Aggregates<RunState> = createAggregates(runAggregate, { log, clock, ids });
  const alarm = { fencedWrite: () => {}, payloadMismatch: () => {} };
  const leased = createLeasedRuns({ aggregates: runs, alarm });
  const tokens = createLeaseTokens(new Uint8Array(32));
  const runSide = createRunSide({ aggregates: runs, leased, tokens, log, limits: all });
  const copies = createCopies(aggregates);
  const { db } = postgres;
  const usage = createUsage({ total: (workspaceId) => storedTotal(db, workspaceId), limits: all });
  const admission = createAdmission({ aggregates, copies, runs: runSide, usage, limits: all, clock, ids });
  const shared = { aggregates, blobs, keys, db, positions, clock };
  const artifacts = createArtifacts({ ...shared, runs: runSide, limits: all, isOwner });
  const sweeps = createSweeps({ ...shared, copies, runs: runSide, ids, graceMs: all.graceMs, log: logger });

  const uploads = createUploads({
    admission,
    load: async (workspaceId, artifactId) => (await aggregates.load(workspaceId, artifactId)).state,
    usage,
    blobs,
    keys,
    sessions: stage.sessions,
    alarm: () => {},
    clock,
    log: logger,
  });

  return {
    aggregates,
    runs,
    tokens,
    admission,
    artifacts,
    sweeps,
    sweepOrphans: (orphanGraceMs?: number) => sweepOrphans({ ...shared, orphanGraceMs, log: logger }, never),
    /** Stores bytes in one call. */
    produce(
      call: Call,
      fields: MessageInitShape<typeof ArtifactSpecSchema>,
      data: Uint8Array = Buffer.from("hello"),
      requestId = "",
    ) {
      const spec = create(ArtifactSpecSchema, { name: "report.txt", ...fields });
      return uploads.create(call, create(CreateArtifactRequestSchema, { spec, data, requestId }));
    },
    /** The artifact as the log's leader has it. */
    async known(call: Call, artifactId: string): Promise<KnownArtifact> {
      const { state } = await aggregates.load(call.workspaceId, artifactId);
      if (state.status === "absent") throw new Error(`${artifactId} is not on record`);
      return state;
    },
  };
}

/** What `createProcess` makes. */
export type Process = ReturnType<typeof createProcess>;

/** A call in a workspace of its own. */
export function newCall(workspaceId = newWorkspaceId(), user = "ada"): Call {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: user });
  return { workspaceId, principal, correlationId: ids.next("corr"), traceparent: "", signal: never };
}

/** I9: an artifact that is not purged decrypts to bytes with its hash, also one that was deleted. Throws when it does not. */
export async function requireWhole({ blobs, keys, clock }: Stage, known: KnownArtifact): Promise<void> {
  if (known.status === "purged") return;
  const contents = createContents({ blobs, keys, alarm: () => {}, clock });
  const artifact = { ...known.artifact, expireTime: undefined };
  const hash = createHash("sha256");
  for await (const piece of await contents.open({ ...known, status: "available", artifact })) hash.update(piece);
  if (hash.digest("hex") !== artifact.sha256) throw new Error(`${artifact.artifactId} has other bytes`);
}

/** What is left of an artifact in the stores: nothing, when both are false. */
export async function remains(stage: Stage, artifactId: string): Promise<{ key: boolean; blobs: boolean }> {
  const keys = await Array.fromAsync(stage.keys.list());
  const blobs = await Array.fromAsync(stage.blobs.list());
  return {
    key: keys.some((key) => key.artifactId === artifactId),
    blobs: blobs.some(({ name }) => name.includes(artifactId)),
  };
}

const jobId = "job_1";

/** A run that somebody has created, and that nobody works on yet. */
export async function createQueuedRun({ runs }: Process, call: Call, roomId = ""): Promise<string> {
  const runId = ids.next("run");
  const request = create(CreateRunRequestSchema, { handler: "echo", roomId });
  const newRun = {
    runId,
    request,
    handler: "echo",
    zone: Zone.SUPERVISED,
    retryPolicy: completeRetryPolicy(undefined),
    maxDuration: undefined,
    budget: undefined,
    depth: 0,
    base: undefined,
    requestDigest: new Uint8Array(),
  };
  const creation = { roomId, repeatable: false };
  await runs.execute({ call, id: runId, creation, decide: (state) => createRun(state, newRun) });
  return runId;
}

/** The token of a fresh lease on a queued run, or on one whose lease has lapsed. */
export async function claim({ runs, tokens }: Process, stage: Stage, call: Call, runId: string): Promise<string> {
  const leaseId = ids.next("lease");
  const asked = { jobId, jobPosition: 1n << 62n, redelivered: true, leaseId, leaseTtlMs: 1_000, workerId: "worker-1" };
  await runs.execute({ call, id: runId, decide: (state) => claimRun(state, asked, stage.clock.now()) });
  return tokens.seal({ workspaceId: call.workspaceId, runId, leaseId, ackSubject: "" });
}

/** The id of a step that has started, or has reused the artifact that is the output of a base run's step. */
export async function beginStep({ runs, tokens }: Process, call: Call, leaseToken: string, outputArtifactId?: string) {
  const key = "fetch";
  const recorded =
    outputArtifactId === undefined ? undefined : { runId: ids.next("run"), output: undefined, outputArtifactId };
  const lease = tokens.open(leaseToken, call.workspaceId);
  const stepId = derivedId("step", call.workspaceId, lease.runId, key);
  const step = { stepId, key, name: key, input: undefined, kind: StepKind.FUNCTION, sequence: 1 };
  await runs.execute({ call, id: lease.runId, decide: (state, now) => startStep(state, lease, step, now, recorded) });
  return stepId;
}

/** Ends a run. */
export async function cancel({ runs }: Process, call: Call, runId: string): Promise<void> {
  await runs.execute({ call, id: runId, decide: (state) => cancelRun(state, runId, "not needed any more") });
}
