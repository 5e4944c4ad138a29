import { describe, expect, test } from "vitest";
import { findViolations } from "../../scripts/architecture/rules.ts";
import { readSources } from "../../scripts/architecture/sources.ts";

function violationsOf(files: Record<string, string>): string[] {
  return findViolations(new Map(Object.entries(files)));
}

test("the sources keep the arrows and file rules of the house", async () => {
  const sources = await readSources();
  expect(sources.size).toBeGreaterThan(0);
  expect(findViolations(sources)).toEqual([]);
});

describe("an arrow that may be drawn", () => {
  test.each([
    ["src/kernel/ids.ts", "../../gen/signalbox/v1/run_pb.ts"],
    ["src/eventlog/append.ts", "../kernel/errors.ts"],
    ["src/readmodel/projector.ts", "../eventlog/feed.ts"],
    ["src/deltas/deltas.ts", "../eventlog/nats.ts"],
    ["src/events/events.ts", "../deltas/deltas.ts"],
    ["src/runs/service.ts", "./decider.ts"],
    ["src/runs/service.ts", "../agents/queries.ts"],
    ["src/rooms/reactors.ts", "../runs/commands.ts"],
    ["src/client/client.ts", "../../gen/signalbox/v1/run_pb.ts"],
    ["src/client/sealed-artifact.ts", "../sealing/open-sealed.ts"],
    ["src/engine/worker.ts", "../client/client.ts"],
    ["src/engine/worker.ts", "node:timers/promises"],
    ["src/server/listen.ts", "../runs/service.ts"],
    ["src/stack/nats.ts", "../kernel/errors.ts"],
    ["src/cli/main.ts", "../runs/decider.ts"],
    ["src/cli/main.ts", "../../package.json"],
  ])("%s imports %s", (path, specifier) => {
    expect(violationsOf({ [path]: `import { x } from "${specifier}";\n` })).toEqual([]);
  });
});

describe("an arrow that may not be drawn", () => {
  test.each([
    ["src/kernel/ids.ts", "../eventlog/append.ts"],
    ["src/eventlog/append.ts", "../readmodel/pool.ts"],
    ["src/readmodel/projector.ts", "../runs/projection.ts"],
    ["src/deltas/deltas.ts", "../jobs/jobs.ts"],
    ["src/runs/service.ts", "../agents/decider.ts"],
    ["src/runs/service.ts", "../agents/projection.ts"],
    ["src/runs/service.ts", "../agents/service.ts"],
    ["src/runs/service.ts", "../server/errors.ts"],
    ["src/engine/worker.ts", "../kernel/errors.ts"],
    ["src/engine/worker.ts", "../runs/queries.ts"],
    ["src/client/client.ts", "../kernel/errors.ts"],
    ["src/server/listen.ts", "../runs/decider.ts"],
    ["src/server/listen.ts", "../stack/nats.ts"],
    ["src/stack/nats.ts", "../eventlog/append.ts"],
    ["src/runs/service.ts", "../cli/config.ts"],
    ["src/runs/service.ts", "../../test/support/until.ts"],
    ["src/cli/main.ts", "../../scripts/command.ts"],
    ["src/runs/service.ts", "signalbox/client"],
  ])("%s imports %s", (path, specifier) => {
    expect(violationsOf({ [path]: `import { x } from "${specifier}";\n` })).toEqual([
      expect.stringMatching(new RegExp(`^${path}:1: .*${specifier.split("/").at(-1)}`)),
    ]);
  });

  test.each([
    ["import type", `import type { Run } from "../agents/decider.ts";`],
    ["re-export", `export { decide } from "../agents/decider.ts";`],
    ["export all", `export * from "../agents/decider.ts";`],
    ["dynamic import", `const agents = await import("../agents/decider.ts");`],
    ["import in a type", `type Agent = import("../agents/decider.ts").Agent;`],
    ["side effect", `import "../agents/decider.ts";`],
  ])("is seen in every form: %s", (_form, text) => {
    expect(violationsOf({ "src/runs/service.ts": `\n${text}\n` })).toEqual([
      expect.stringContaining("src/runs/service.ts:2: runs imports src/agents/decider.ts"),
    ]);
  });

  test("is not seen in comments and strings", () => {
    const text = [
      `// import { x } from "../agents/decider.ts";`,
      `/* console.log(Math.random()) */`,
      "const text = `import { y } from \"../agents/decider.ts\"; ${'process.exit(1)'}`;",
      `const pattern = /["'\`]/;`,
    ].join("\n");
    expect(violationsOf({ "src/runs/service.ts": text })).toEqual([]);
  });
});

describe("deciding, evolving and projecting", () => {
  test.each([
    [`import { createHash } from "node:crypto";`, "node:crypto"],
    [`import { readFileSync } from "fs";`, "fs"],
    [`import type { ClientBase } from "pg";`, "pg"],
    [`import { jetstream } from "@nats-io/jetstream";`, "@nats-io/jetstream"],
    [`import { ulid } from "ulid";`, "ulid"],
    [`const now = Date.now();`, "Date.now"],
    [`const now = new Date();`, "new Date()"],
    [`const id = crypto.randomUUID();`, "crypto.randomUUID"],
    [`const id = randomUUID();`, "randomUUID()"],
    [`const home = process.env;`, "process.env"],
  ])("may not contain %s", (text, named) => {
    for (const file of ["decider.ts", "evolve.ts", "projection.ts"]) {
      expect(violationsOf({ [`src/runs/${file}`]: text })).toEqual([expect.stringContaining(named)]);
    }
    expect(violationsOf({ "src/runs/service.ts": text })).toEqual([]);
  });

  test("may read a time that was carried in, and hash through the kernel", () => {
    const decider = [
      `import { sha256 } from "../kernel/hash.ts";`,
      `export function decide(text: string): Date { return new Date(sha256(text).length); }`,
    ].join("\n");
    const hash = `import { createHash } from "node:crypto";\nexport const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");`;
    expect(violationsOf({ "src/runs/decider.ts": decider, "src/kernel/hash.ts": hash })).toEqual([]);
  });

  test("may not reach an effect through a file beside them", () => {
    expect(
      violationsOf({
        "src/runs/decider.ts": `import { limit } from "./limits.ts";`,
        "src/runs/limits.ts": `import { read } from "./read.ts";`,
        "src/runs/read.ts": `import { readFileSync } from "node:fs";`,
      }),
    ).toEqual([expect.stringMatching(/^src\/runs\/read\.ts:1: imports node:fs/)]);
  });
});

describe("a file", () => {
  test.each([
    [`export default function x() {}`, "default export"],
    [`const x = 1; export { x as default };`, "default export"],
    [`console.error("x");`, "console.error"],
    [`process.exit(1);`, "process.exit"],
    [`const x = Math.random();`, "Math.random"],
  ])("may not contain %s", (text, named) => {
    expect(violationsOf({ "src/runs/service.ts": text })).toEqual([expect.stringContaining(named)]);
  });

  test("may set process.exitCode, and the CLI's output may print", () => {
    expect(violationsOf({ "src/cli/doctor.ts": `process.exitCode = 1;` })).toEqual([]);
    expect(violationsOf({ "src/cli/output.ts": `console.log("ready");` })).toEqual([]);
  });

  test("has at most 400 lines", () => {
    expect(violationsOf({ "src/runs/service.ts": "\n".repeat(399) + "const x = 1;\n" })).toEqual([]);
    expect(violationsOf({ "src/runs/service.ts": "\n".repeat(400) + "const x = 1;\n" })).toEqual([
      expect.stringContaining("401 lines"),
    ]);
  });

  test("is named when it does not parse", () => {
    expect(() => violationsOf({ "src/runs/service.ts": "imprt x" })).toThrow("src/runs/service.ts does not parse");
  });

  test("stands in a folder", () => {
    expect(violationsOf({ "src/helpers.ts": "" })).toEqual([expect.stringContaining("outside every folder")]);
  });
});
