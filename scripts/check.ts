/** `npm run check [-- step …]`: everything about the repository that can be judged without running the program. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { inspect, styleText } from "node:util";
import { findViolations } from "./architecture/rules.ts";
import { readSources } from "./architecture/sources.ts";
import { root, runCommand } from "./command.ts";
import { staleFiles } from "./generate.ts";

/** One thing to check. `run` answers with what is wrong; `note` says why a step had nothing to do. */
interface Step {
  name: string;
  what: string;
  /** The command that mends it, where there is one. */
  mend?: string;
  run(): Promise<Outcome>;
}

interface Outcome {
  passed: boolean;
  output: string;
  note?: string;
}

// More at a time makes each slower on the two cores of a CI machine.
const concurrency = 2;

const steps: Step[] = [
  {
    name: "format",
    what: "source is formatted (oxfmt)",
    mend: "npm run format",
    run: () => command("oxfmt", "--check"),
  },
  {
    name: "format-proto",
    what: "contract is formatted (buf format)",
    mend: "npm run format",
    run: () => command("buf", "format", "proto", "--diff", "--exit-code", "--exclude-path", "proto/buf"),
  },
  { name: "lint", what: "lint rules, type-aware (oxlint)", mend: "npx oxlint --fix", run: () => command("oxlint") },
  { name: "types", what: "types (tsc)", run: () => command("tsc", "--pretty", String(process.stdout.isTTY ?? false)) },
  { name: "proto", what: "contract rules (buf lint)", run: () => command("buf", "lint") },
  { name: "breaking", what: "contract is compatible with the last release (buf breaking)", run: breaking },
  { name: "generated", what: "generated code is up to date", mend: "npm run gen", run: generated },
  { name: "arrows", what: "import arrows and file rules", run: architecture },
  { name: "dead-code", what: "dead code and unused dependencies (knip)", run: () => command("knip", "--no-progress") },
];

async function command(program: string, ...args: string[]): Promise<Outcome> {
  const { code, output } = await runCommand(program, args);
  return { passed: code === 0, output };
}

async function breaking(): Promise<Outcome> {
  if (!existsSync(join(root, ".git"))) return { passed: true, output: "", note: "not a git checkout" };
  const tags = await runCommand("git", ["tag", "--list", "v*", "--sort=-version:refname"]);
  if (tags.code !== 0) return { passed: false, output: tags.output };
  const [latest] = tags.output.split("\n");
  if (!latest) return { passed: true, output: "", note: "no release tag v* to compare with" };
  return command("buf", "breaking", "--against", `.git#tag=${latest}`);
}

async function generated(): Promise<Outcome> {
  const stale = await staleFiles();
  return { passed: stale.length === 0, output: stale.map((path) => `${path} is not what proto/ generates\n`).join("") };
}

async function architecture(): Promise<Outcome> {
  const violations = findViolations(await readSources());
  return { passed: violations.length === 0, output: violations.map((violation) => `${violation}\n`).join("") };
}

function choose(names: string[]): Step[] {
  const unknown = names.filter((name) => !steps.some((step) => step.name === name));
  if (unknown.length > 0) {
    const known = steps.map((step) => `  ${step.name.padEnd(14)}${step.what}`).join("\n");
    throw new Error(`no such step: ${unknown.join(", ")}; the steps are\n${known}`);
  }
  return names.length === 0 ? steps : steps.filter((step) => names.includes(step.name));
}

async function runStep(step: Step): Promise<boolean> {
  const start = performance.now();
  const outcome = await step.run().catch((error: unknown): Outcome => ({ passed: false, output: messageOf(error) }));
  const seconds = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  const mark = outcome.passed ? styleText("green", "ok  ") : styleText("red", "FAIL");
  const note = outcome.note ? ` (skipped: ${outcome.note})` : "";
  process.stdout.write(`${mark} ${step.name.padEnd(14)}${seconds.padStart(7)}  ${step.what}${note}\n`);
  if (!outcome.passed) process.stdout.write(`${outcome.output.trimEnd()}\n\n`);
  return outcome.passed;
}

async function main(names: string[]): Promise<void> {
  const chosen = choose(names);
  const start = performance.now();
  const failed: Step[] = [];
  const queue = chosen.values();
  const workers = Array.from({ length: concurrency }, async () => {
    for (const step of queue) if (!(await runStep(step))) failed.push(step);
  });
  await Promise.all(workers);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(`\n${chosen.length - failed.length} of ${chosen.length} steps passed in ${seconds} s\n`);
  for (const { name, mend } of failed) process.stdout.write(`failed: ${name}${mend ? ` (try: ${mend})` : ""}\n`);
  if (failed.length > 0) process.exitCode = 1;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  return error.cause === undefined ? error.message : `${error.message}: ${messageOf(error.cause)}`;
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 2;
});
