/** `npm run bench [-- benchmark …]`: how fast Signalbox is, beside how fast it could be. */
import { mkdir, writeFile } from "node:fs/promises";
import { artifacts } from "./artifacts.ts";
import { create } from "./create.ts";
import { engine } from "./engine.ts";
import { evaluate } from "./evaluate.ts";
import { gate } from "./gate.ts";
import { helpText, type Options, readOptions } from "./options.ts";
import { projector } from "./projector.ts";
import type { Figure } from "./report/figure.ts";
import { describeMachine } from "./report/machine.ts";
import { writeDocs } from "./report/markdown.ts";
import type { Report } from "./report/report.ts";
import { textReport } from "./report/text.ts";
import { run } from "./run.ts";
import { start } from "./start.ts";
import { subscribe } from "./subscribe.ts";

const benchmarks = [create, run, gate, artifacts, engine, evaluate, subscribe, projector, start];
const resultsFolder = new URL("results/", import.meta.url);
const docsFile = new URL("../docs/performance.md", import.meta.url);

async function main(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readOptions(args, benchmarks);
  if (options.help) return print(helpText(benchmarks));
  const report = await measure(options, signal);
  await mkdir(resultsFolder, { recursive: true });
  const json = JSON.stringify(report, null, 2);
  await writeFile(new URL(`${report.startTime.replaceAll(":", "-")}.json`, resultsFolder), `${json}\n`);
  if (options.writeDocs) await writeDocs(docsFile, report);
  print(options.json ? json : textReport(report));
}

async function measure({ chosen, seconds }: Options, signal: AbortSignal): Promise<Report> {
  const startTime = new Date().toISOString();
  const progress = (text: string) => void process.stderr.write(`${text}\n`);
  const figures: Record<string, Figure[]> = {};
  for (const { name, run: runBenchmark } of chosen) {
    try {
      figures[name] = await runBenchmark({ seconds, progress, signal });
    } catch (error) {
      signal.throwIfAborted();
      // The figures of the others are worth having.
      fail(`${name} failed: ${messageOf(error)}`);
    }
  }
  return { startTime, machine: await describeMachine(), seconds, figures };
}

function fail(message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());

await main(process.argv.slice(2), interrupted.signal).catch((error: unknown) => {
  fail(interrupted.signal.aborted ? "interrupted" : messageOf(error));
});
