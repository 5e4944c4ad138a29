import { randomBytes, randomInt } from "node:crypto";
import { afterAll, expect, test } from "vitest";
import { sweepOrphans } from "../../src/artifacts/orphans.ts";
import { artifactAggregate } from "../../src/artifacts/state.ts";
import { openBlobs } from "../../src/cli/blobs.ts";
import { openKeys } from "../../src/cli/keys.ts";
import { reasonOf, type SignalboxClient } from "../../src/client/client.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createPositions } from "../../src/readmodel/positions.ts";
import { artifactOptions } from "../support/artifact-options.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { checkInvariants, decodeLog, describeViolations } from "../support/invariants.ts";
import { createSeeded, type Seeded } from "../support/seeded.ts";
import { checkArtifacts } from "./support/artifact-invariants.ts";
import { readStoredLog } from "./support/stored-log.ts";

const seed = Number(process.env["SIGNALBOX_FAULT_SEED"] ?? randomInt(1_000_000));
const rounds = Number(process.env["SIGNALBOX_ARTIFACT_ROUNDS"] ?? 25);
const artifacts = artifactOptions(randomBytes(32));
const runLimit = 50;
const installation = await openInstallation({ servers: 2, artifacts });
afterAll(() => installation[Symbol.asyncDispose]());
const { nats, log, prefix, stream, postgres, logger } = installation.backend;
const common = { replicas: 1, clock, ids, env: {} };
const keys = await openKeys({ ...common, stores: { nats, log, prefix }, settings: artifacts.rootKeys });
const blobs = await openBlobs(artifacts.blobs, { nats, prefix, replicas: 1, log: logger });

/** What is wrong as things are now, one line each. */
async function wrong(swept = false): Promise<string> {
  const stored = await readStoredLog(nats, stream);
  const broken = checkInvariants({ log: stored, operations: [] });
  return describeViolations([
    ...broken,
    ...(await checkArtifacts(decodeLog(stored), { blobs, keys: keys.ring }, { swept })),
  ]);
}

/** Clients of one workspace, spread over the servers. */
function clientsOf(workspaceId: string, count: number): SignalboxClient[] {
  return Array.from({ length: count }, (_, index) => {
    const baseUrl = installation.servers[index % 2]?.url ?? "";
    return installation.client({ baseUrl, workspaceId });
  });
}

test("a run takes as many files as it may, however many are uploaded to it at once", { timeout: 90_000 }, async () => {
  const clients = clientsOf(newWorkspaceId(), 20);
  const runId = (await clients[0]?.runs.createRun({ handler: "nobody" }))?.run?.runId ?? "";
  const outcomes: string[] = [];
  const uploads = clients.map(async (client) => {
    for (let i = 0; i < 3; i++) {
      const request = { spec: { name: "report.txt", runId }, data: randomBytes(50) };
      outcomes.push(await client.artifacts.createArtifact(request).then(() => "stored", failure));
    }
  });
  await Promise.all(uploads);
  expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(runLimit);
  expect(outcomes.filter((outcome) => outcome === "QUOTA_EXCEEDED")).toHaveLength(60 - runLimit);
  const run = (await clients[1]?.runs.getRun({ runId }))?.run;
  expect(run?.artifactSummary).toMatchObject({ count: runLimit, totalSizeBytes: BigInt(runLimit * 50) });
  expect(await wrong()).toBe("");
});

/** The reason of a refusal. */
function failure(error: unknown): string {
  const reason = reasonOf(error);
  if (reason === undefined) throw error;
  return reason;
}

/** What the clients have uploaded: who reads it gets these bytes. */
type Shelf = Map<string, Uint8Array>;

async function act(client: SignalboxClient, random: Seeded, shelf: Shelf): Promise<string> {
  const artifactId = shelf.size === 0 ? "" : random.pick([...shelf.keys()]);
  if (artifactId === "" || random.oneIn(3)) {
    // Some requests come from several clients at once.
    const requestId = `request-${random.below(40)}`;
    const data = Buffer.alloc(20_000, requestId);
    const answer = await client.artifacts.createArtifact({ requestId, spec: { name: "report.txt" }, data });
    shelf.set(answer.artifact?.artifactId ?? "", data);
    return "uploaded";
  }
  if (random.oneIn(5)) {
    await client.artifacts.deleteArtifact({ artifactId, permanent: random.oneIn(2) });
    return "deleted";
  }
  if (random.oneIn(5)) {
    await client.artifacts.restoreArtifact({ artifactId });
    return "restored";
  }
  const pieces: Uint8Array[] = [];
  for await (const { frame } of client.artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(frame.value);
  }
  expect(Buffer.concat(pieces).equals(shelf.get(artifactId) ?? new Uint8Array())).toBe(true);
  return "read";
}

test(
  `eight clients, two servers and a rotation that goes on and on leave every artifact whole (SIGNALBOX_FAULT_SEED=${seed})`,
  { timeout: 600_000 },
  async () => {
    const workspaceId = newWorkspaceId();
    const shelf: Shelf = new Map();
    const counts = new Map<string, number>();
    const note = (outcome: string) => counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    const working = clientsOf(workspaceId, 8).map(async (client, index) => {
      const random = createSeeded(seed + index);
      for (let round = 0; round < rounds; round++) note(await act(client, random, shelf).catch(failure));
    });
    let isOver = false;
    const ended = Promise.allSettled(working).then(() => (isOver = true));
    while (!isOver) {
      await keys.care.rotateWorkspace(workspaceId);
      note("rotated");
    }
    await ended;
    await Promise.all(working);
    for (const outcome of ["uploaded", "deleted", "read"]) expect(counts.get(outcome) ?? 0).toBeGreaterThan(3);
    expect(counts.get("rotated") ?? 0).toBeGreaterThan(0);
    const unusual = [...counts.keys()].filter((outcome) => !usual.has(outcome));
    expect(unusual).toEqual([]);
    expect(await wrong()).toBe("");
    await sweep();
    expect(await wrong(true)).toBe("");
  },
);

const usual: ReadonlySet<string> = new Set(["uploaded", "deleted", "restored", "read", "rotated", "ARTIFACT_EXPIRED"]);

/** Sweeps orphans without any grace, once the tables know everything. */
async function sweep(): Promise<void> {
  await using positions = createPositions({ nats, postgres, subject: `${prefix}.projected` });
  const { head } = await log.bounds();
  await positions.reach(head, AbortSignal.timeout(20_000));
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  const deps = { aggregates, blobs, keys: keys.ring, db: postgres.db, clock, orphanGraceMs: 0, log: logger };
  await sweepOrphans(deps, AbortSignal.timeout(20_000));
}
