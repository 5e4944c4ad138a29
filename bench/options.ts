import { parseArgs } from "node:util";
import type { Benchmark } from "./support/bench.ts";

/** What was asked for on the command line. */
export interface Options {
  readonly help: boolean;
  /** JSON on stdout in place of the table. */
  readonly json: boolean;
  readonly writeDocs: boolean;
  readonly seconds: number;
  /** In the order of the program; all of them when none was named. */
  readonly chosen: readonly Benchmark[];
}

/** Reads the command line. Throws an error that says how it should be. */
export function readOptions(args: readonly string[], benchmarks: readonly Benchmark[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      "write-docs": { type: "boolean", default: false },
      seconds: { type: "string", default: "1" },
    },
  });
  const names = benchmarks.map(({ name }) => name);
  const unknown = positionals.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`no such benchmark: ${unknown.join(", ")}; there are ${names.join(", ")}`);
  const seconds = Number(values.seconds);
  if (!(seconds > 0 && seconds <= 60))
    throw new Error(`--seconds is ${values.seconds}; give more than 0 and at most 60`);
  if (values["write-docs"] && positionals.length > 0) {
    throw new Error("--write-docs takes the figures of all benchmarks; name none");
  }
  const chosen = positionals.length === 0 ? benchmarks : benchmarks.filter(({ name }) => positionals.includes(name));
  return { help: values.help, json: values.json, writeDocs: values["write-docs"], seconds, chosen };
}

/** What `--help` prints. */
export function helpText(benchmarks: readonly Benchmark[]): string {
  return `Measures Signalbox beside its limits, in turns, on this machine. Everything runs on loopback and in a temporary folder.

Usage: npm run bench -- [benchmark …] [options]

Benchmarks (default: all):
${benchmarks.map(({ name, summary }) => `  ${name.padEnd(14)}${summary}`).join("\n")}

Options:
  --seconds <n>   how long each turn takes; work is scaled by it (default: 1)
  --json          print JSON in place of the table
  --write-docs    put the figures into docs/performance.md
  --help          show this

The figures of every round are written to bench/results/<date>.json.

Examples:
  $ npm run bench                                   everything, in about 20 minutes
  $ npm run bench -- create run --seconds 0.2       a quick look
  $ npm run --silent bench -- projector --json | jq '.figures.projector[].ratio'
  $ npm run bench -- --seconds 3 --write-docs       on a machine that does nothing else`;
}
