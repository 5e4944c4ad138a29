import { isBuiltin } from "node:module";
import { type Import, type Module, type Use, scanModule } from "./scan.ts";

/** What a folder of src/ may import of ours; a noun's folder is one that is not listed here. */
const arrows: Record<string, string[]> = {
  kernel: ["gen"],
  eventlog: ["kernel", "gen"],
  readmodel: ["kernel", "eventlog", "gen"],
  jobs: ["kernel", "eventlog", "gen"],
  deltas: ["kernel", "eventlog", "gen"],
  client: ["gen", "sealing"],
  models: ["client", "gen"],
  tools: ["client", "gen"],
  engine: ["client", "gen", "models", "tools", "package.json"],
  blobs: ["kernel", "eventlog", "gen"],
  sealing: ["kernel"],
  keys: ["kernel", "eventlog", "gen"],
  access: ["kernel", "eventlog", "readmodel", "gen"],
  server: ["kernel", "eventlog", "readmodel", "access", "gen", "nouns"],
  stack: ["kernel"],
};
// Blobs, sealing, keys and access know nothing of artifacts, so that each can be tested and replaced by itself.
const nounArrows = "kernel eventlog readmodel jobs deltas gen nouns blobs sealing keys access".split(" ");
// Composition roots wire everything together, so they may know everything: the program, and Signalbox in memory for tests.
const compositionRoots = ["cli", "testing"];

/** The files through which others may reach a noun; its decider, its projection and its SQL stay its own. */
const openFiles: Record<string, string[]> = {
  noun: ["queries.ts", "commands.ts"],
  server: ["queries.ts", "commands.ts", "service.ts"],
};

const pureFile = /[/-](decider|evolve|projection)\.ts$/;
const impurePackages = ["pg", "ulid", "@nats-io/"];
const impureUses =
  /^(Date\.now|new Date\(\)|Date\(\)|performance\.now|Math\.random|process\..*|crypto\..*|.*\.randomUUID|(ulid|randomUUID|randomBytes|setTimeout|fetch)\(\))$/;
const maxLines = 400;

/**
 * Holds the sources of src/, by path, against the arrows and file rules of the house.
 * Returns one line per violation, `path:line: what and why`, in the order of the sources; empty when all is well.
 */
export function findViolations(sources: ReadonlyMap<string, string>): string[] {
  const modules = new Map([...sources].map(([path, text]) => [path, scanModule(path, text)]));
  const pure = reachedFromPure(modules);
  return [...modules.values()].flatMap((module) => [
    ...module.imports.flatMap((item) => at(module, item, crossedArrow(module.path, item.target))),
    ...module.uses.flatMap((use) => at(module, use, forbiddenUse(module.path, use))),
    ...(pure.has(module.path) ? impurities(module) : []),
    ...wholeFile(module),
  ]);
}

function wholeFile({ path, lineCount }: Module): string[] {
  const problems = [];
  if (folderOf(path) === undefined) problems.push(`${path}: stands outside every folder of src/, so no arrow holds it`);
  if (lineCount > maxLines) problems.push(`${path}: has ${lineCount} lines of at most ${maxLines}; split it by noun`);
  return problems;
}

function at(module: Module, { line }: { line: number }, problem: string | undefined): string[] {
  return problem === undefined ? [] : [`${module.path}:${line}: ${problem}`];
}

function crossedArrow(path: string, target: string): string | undefined {
  const from = folderOf(path);
  if (isIn("signalbox", target)) return `imports ${target}; inside src/ use the file's path`;
  if (from === undefined || !isOurs(target)) return undefined;
  const to = target.startsWith("gen/") ? "gen" : folderOf(target);
  if (to === from) return undefined;
  if (compositionRoots.includes(from) && (to !== undefined || target === "package.json")) return undefined;
  const allowed = compositionRoots.includes(from) ? ["src", "gen", "package.json"] : (arrows[from] ?? nounArrows);
  if (allowed.includes(to ?? target)) return undefined;
  if (to !== undefined && isNoun(to) && allowed.includes("nouns")) {
    const open = openFiles[isNoun(from) ? "noun" : from] ?? [];
    if (open.some((file) => target === `src/${to}/${file}`)) return undefined;
    return `${from} imports ${target}; of another noun only ${open.join(", ")} may be imported`;
  }
  return `${from} imports ${target}; ${from} may import ${allowed.join(", ")}`;
}

function forbiddenUse(path: string, { text }: Use): string | undefined {
  if (text === "export default") return "default export; export it by name";
  if (path === "src/cli/output.ts") return undefined;
  if (text.startsWith("console.")) return `${text}; log through the logger, print through src/cli/output.ts`;
  if (text === "process.exit") return "process.exit skips disposal; return, or set process.exitCode";
  if (text === "Math.random") return "Math.random; take randomness from the kernel";
  return undefined;
}

function impurities(module: Module): string[] {
  return [
    ...module.imports
      .filter(({ target }) => isBuiltin(target) || impurePackages.some((name) => isIn(name, target)))
      .flatMap((item) => at(module, item, `imports ${item.target}, but deciding, evolving and projecting are pure`)),
    ...module.uses
      .filter(({ text }) => impureUses.test(text))
      .flatMap((use) => at(module, use, `${use.text}, but deciding, evolving and projecting are pure`)),
  ];
}

/** The pure files and everything of ours they run, except the kernel and gen/: a helper beside a decider is no loophole. */
function reachedFromPure(modules: ReadonlyMap<string, Module>): Set<string> {
  const reached = new Set([...modules.keys()].filter((path) => pureFile.test(path)));
  for (const path of reached) {
    for (const { target } of (modules.get(path)?.imports ?? []).filter(runs)) {
      if (modules.has(target) && folderOf(target) !== "kernel") reached.add(target);
    }
  }
  return reached;
}

function runs(item: Import): boolean {
  return !item.typeOnly;
}

function folderOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

function isNoun(folder: string): boolean {
  return folder !== "gen" && !compositionRoots.includes(folder) && !Object.hasOwn(arrows, folder);
}

function isOurs(target: string): boolean {
  return !isBuiltin(target) && /^(src|gen|test|scripts|bench|web|bin|\.\.)\/|^[^@/]+\.json$/.test(target);
}

function isIn(name: string, target: string): boolean {
  return target === name || target.startsWith(name.endsWith("/") ? name : `${name}/`);
}
