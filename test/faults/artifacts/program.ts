import { SignalboxError } from "../../../src/kernel/errors.ts";
import { signalbox } from "../../../src/kernel/principal.ts";
import { describeViolations, type LogEvent, type Violation } from "../../support/invariants.ts";
import { createSeeded, type Seeded } from "../../support/seeded.ts";
import { type Action, actions, bytesOf, type Program, sweepDue, upload, workspaceId } from "./actions.ts";
import { createTurns, type SimulatedProcess, type Turns } from "./turns.ts";
import {
  type ArtifactWorld,
  callIn,
  type Durable,
  narrowLimits,
  openArtifactWorld,
  type Process,
  queueRun,
} from "./world.ts";

/** Changes something of a process for the worse. */
export type Mutant = (durable: Durable, world: ArtifactWorld) => Parameters<ArtifactWorld["process"]>[0];

/** What became of a program. */
export interface Outcome {
  /** What was wrong, one line each; empty when all was well. */
  readonly wrong: string;
  /** How often what was done, or refused for what reason. */
  readonly counts: ReadonlyMap<string, number>;
}

const hourMs = 60 * 60_000;
const pauses = [0, 0, hourMs, 13 * hourMs, 26 * hourMs, 8 * 24 * hourMs];
/** What a caller may be told; everything else is a defect. */
const usual: ReadonlySet<string> = new Set([
  "ARTIFACT_EXPIRED",
  "ARTIFACT_NOT_FOUND",
  "CONTENTION",
  "INVALID_STATE",
  "QUOTA_EXCEEDED",
  "REQUEST_ID_REUSED",
  "UPLOAD_NOT_FOUND",
]);

/** What is unusual about a program. */
export interface ProgramOptions {
  readonly mutant?: Mutant;
  /** The kinds of actions that it is made of, in rounds of two in which somebody is killed, with small files; default all. */
  readonly only?: readonly string[];
}

/** Runs a program that a seed decides: two servers on the same stores, in rounds with time between them, some of which one dies in. */
export async function runProgram(seed: number, options: ProgramOptions = {}): Promise<Outcome> {
  const { mutant = () => ({}), only } = options;
  const isNarrow = only !== undefined;
  const chosen = actions.filter(({ kind }) => !isNarrow || only.includes(kind));
  const random = createSeeded(seed);
  const turns = createTurns(random);
  const world = openArtifactWorld();
  const program = await begin(world, random, isNarrow);
  const servers = [0, 1].map((index) => startServer(world, turns, index, mutant));
  const rounds = 3 + random.below(4);
  for (let round = 0; round < rounds; round++) {
    const work = Array.from({ length: isNarrow ? 2 : 2 + random.below(4) }, () => {
      const { process, server } = random.pick(servers);
      return { process, done: attempt(program, random.pick(chosen).of(program), server) };
    });
    await turns.run(work, isNarrow || random.oneIn(2) ? random.below(isNarrow ? 30 : 60) : undefined);
    for (const [index, { process }] of servers.entries()) {
      if (!process.isDead) continue;
      count(program, "kill");
      servers[index] = startServer(world, turns, index, mutant);
    }
    program.problems.push(...lines(await world.check()));
    world.clock.pass(random.pick(pauses));
  }
  await conclude(program, world.process(mutant(world, world)));
  return { wrong: [...program.problems, ...lines(world.early)].join("\n"), counts: program.counts };
}

async function begin(world: ArtifactWorld, random: Seeded, isNarrow: boolean): Promise<Program> {
  const first = world.process();
  const runIds = ["", await queueRun(first, callIn(workspaceId)), await queueRun(first, callIn(workspaceId))];
  const requests = Array.from({ length: 5 }, (_, index) => ({
    requestId: `r${index}`,
    bytes: bytesOf(!isNarrow && random.oneIn(8) ? 1024 * 1024 + 10 : random.below(300), index),
    runId: random.pick(isNarrow ? runIds.slice(1) : runIds),
    inChunks: random.oneIn(2),
  }));
  return { world, random, requests, runIds, told: new Map(), problems: [], counts: new Map() };
}

/** A server whose requests take turns with those of others. */
export function startServer(world: ArtifactWorld, turns: Turns, index: number, mutant: Mutant = () => ({})) {
  const process: SimulatedProcess = { name: `server ${index}`, isDead: false };
  const durable: Durable = {
    store: turns.wrap(process, world.store, ["publish"]),
    blobs: turns.wrap(process, world.blobs, ["put", "remove"]),
    keyStore: turns.wrap(process, world.keyStore, ["create", "update", "remove"]),
    sessions: turns.wrap(process, world.sessions, ["create", "replace", "remove"]),
    db: turns.wrap(process, world.db, []),
  };
  return { process, server: world.process({ ...durable, ...mutant(durable, world) }) };
}

async function attempt(program: Program, { name, by }: Action, server: Process): Promise<void> {
  try {
    await by(server);
    count(program, name);
  } catch (error) {
    const reason = error instanceof SignalboxError ? error.reason : "";
    count(program, `${name} ${reason}`);
    if (!usual.has(reason)) program.problems.push(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function count({ counts }: Program, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Everybody repeats what they asked for, by a server that knows nothing; then everything is swept, and nothing is left over. */
async function conclude(program: Program, server: Process): Promise<void> {
  const { world, requests, problems } = program;
  await sweepDue(world, server);
  for (const request of requests) await attempt(program, upload(program, request), server);
  problems.push(...lines(await world.check()));
  if (program.random.oneIn(4)) await server.care.destroyWorkspace(workspaceId, { reason: "left", by: signalbox });
  world.clock.pass(26 * hourMs);
  await sweepDue(world, server);
  await server.sweepOrphans(0);
  problems.push(...lines(await world.check({ swept: true })), ...beyondLimits(world.events()));
  if (world.damages.length > 0) problems.push(`found damaged: ${JSON.stringify(world.damages)}`);
}

/** Runs that have more files than they may, and artifacts that were created more than once. */
function beyondLimits(log: readonly LogEvent[]): string[] {
  const created = log.filter(({ event }) => event.payload.case === "artifactCreated");
  const twice = created.filter(({ event }) => event.streamSequence !== 1n).map(({ name }) => `${name}: once more`);
  const added = Map.groupBy(
    log.filter(({ event }) => event.payload.case === "runArtifactAdded"),
    ({ stream }) => stream,
  );
  const full = [...added].filter(([, { length }]) => length > narrowLimits.maxRunArtifacts);
  return [...twice, ...full.map(([stream, { length }]) => `${stream} has ${length} files`)];
}

function lines(violations: readonly Violation[]): string[] {
  return violations.length === 0 ? [] : [describeViolations(violations)];
}
