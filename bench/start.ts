import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openStack } from "../src/stack/stack.ts";
import { type Figure, figureOf } from "./report/figure.ts";
import type { Bench, Benchmark } from "./support/bench.ts";
import { cpuTimes } from "./support/cpu.ts";
import { createLogger } from "./support/logger.ts";
import { inTurns, values } from "./support/rounds.ts";
import { startUp } from "./support/up.ts";

const startRounds = 3;
/** How long nothing happens before and while idleness is measured, for each second given; at most these. */
const calmMs = 3_000;
const idleMs = 10_000;
const limitName = "NATS and Postgres alone";

/** How long `signalbox up` takes to be ready, and what it costs when nothing happens. */
export const start: Benchmark = {
  name: "start",
  summary: "`signalbox up` to ready on an empty and on a used data folder; processor time while idle",
  async run(bench) {
    const samples = await inTurns(
      bench,
      "start",
      {
        product: () =>
          twice(async (dataDir) => {
            await using up = await startUp(dataDir);
            return up.readyMs;
          }),
        alone: () => twice(stackAlone),
      },
      startRounds,
    );
    const figure = (name: string, key: string, target: { maxValue: number } | undefined) =>
      figureOf({
        name,
        unit: "ms",
        better: "less",
        product: values(samples.product, key),
        limit: { name: limitName, rounds: [values(samples.alone, key)] },
        ...(target === undefined ? {} : { target }),
      });
    return [
      figure("first start to ready", "first", undefined),
      figure("second start to ready", "second", { maxValue: 3_000 }),
      ...(await idle(bench)),
    ];
  },
};

/** What the same thing gives on an empty folder, and on the folder as that left it. */
async function twice(measure: (dataDir: string) => Promise<number>): Promise<{ first: number; second: number }> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-bench-"));
  const dataDir = join(folder.path, "data");
  return { first: await measure(dataDir), second: await measure(dataDir) };
}

async function stackAlone(dataDir: string): Promise<number> {
  const log = createLogger();
  const startedAt = performance.now();
  const onFatal = (err: Error) => log.error({ err }, "the servers of the benchmark are gone");
  await using _stack = await openStack({ dataDir, durability: "fsync", log, onFatal });
  return performance.now() - startedAt;
}

/** Processor time of each part while nobody does anything. */
async function idle({ seconds, progress, signal }: Bench): Promise<Figure[]> {
  if (process.platform !== "linux") {
    progress("start: idleness is measured on Linux only");
    return [];
  }
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-bench-"));
  const dataDir = join(folder.path, "data");
  await using up = await startUp(dataDir);
  const pidOf = async (part: string) => Number(await readFile(join(dataDir, part, "server.pid"), "utf8"));
  const pids = [up.pid, await pidOf("nats"), await pidOf("postgres")];
  const scale = Math.min(1, seconds);
  progress("start: idle");
  await sleep(calmMs * scale, undefined, { signal });
  const [before, startedAt] = [await cpuTimes(pids), performance.now()];
  await sleep(idleMs * scale, undefined, { signal });
  const [after, ms] = [await cpuTimes(pids), performance.now() - startedAt];
  const percents = pids.map((_, index) => (((after[index] ?? 0) - (before[index] ?? 0)) / ms) * 100);
  const figure = (name: string, percent: number, target?: { maxValue: number }) =>
    figureOf({ name, unit: "% of a core", better: "less", product: [percent], ...(target ? { target } : {}) });
  return [
    ...["server and worker", "NATS", "Postgres"].map((name, i) => figure(`idle, ${name}`, percents[i] ?? Number.NaN)),
    figure(
      "idle, everything",
      percents.reduce((sum, percent) => sum + percent, 0),
      { maxValue: 1 },
    ),
  ];
}
