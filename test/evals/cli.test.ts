import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { builtInWorker } from "../../src/cli/actions/worker.ts";
import { readSettings } from "../../src/cli/settings.ts";
import { createCommands } from "../cli/commands.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";

const cleanup = new AsyncDisposableStack();
afterAll(() => cleanup.disposeAsync());
const installation = cleanup.use(await openInstallation());
const workspaceId = newWorkspaceId();
const folder = await mkdtemp(join(tmpdir(), "signalbox-evals-"));
cleanup.defer(() => rm(folder, { recursive: true }));
const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
const worker = cleanup.use(
  await builtInWorker({ ...readSettings(env), env }, installation.backend.logger, { concurrency: 16 }),
);
const working = worker.run();
cleanup.defer(() => worker[Symbol.asyncDispose]().then(() => working));
const { run, text, json, list } = createCommands(installation.url, workspaceId);

const suite = {
  name: "signals & <aspects>",
  cases: [
    { key: "red", input: "stop", expected: "stop" },
    { key: "green", input: "go", checks: [{ name: "word", pattern: { pattern: "^(go|proceed)$" } }] },
  ],
};

async function file(content: object, name = "suite.json"): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, JSON.stringify(content));
  return path;
}

const failing = { ...suite, name: "failing", cases: [{ key: "red", input: "go", expected: "stop" }] };

describe("`eval run` ends with", () => {
  test("0 when the gate says PASS", async () => {
    const { code, stdout, stderr } = await run(
      "eval",
      "run",
      await file(suite),
      "--handler",
      "echo",
      "--repeats",
      "10",
    );
    expect(stderr).toMatch(/^evaluation run_/);
    expect(stdout).toMatch(/\nPASS\n {2}the pass rate is 100\.0 %/);
    expect(code).toBe(0);
  });

  test("1 when the gate says FAIL, and a report that CI can read", async () => {
    const junit = join(folder, "report.xml");
    const path = await file(failing, "failing.json");
    const { code, stdout } = await run(
      "eval",
      "run",
      path,
      "--handler",
      "echo",
      "--repeats",
      "20",
      "--parallel",
      "20",
      "--junit",
      junit,
    );
    expect(stdout).toMatch(/\nred +0 +20 +0 +exact: got "go", expected "stop"/);
    expect(stdout).toMatch(/\nFAIL\n {2}the pass rate is 0\.0 %/);
    expect(code).toBe(1);
    expect(await readFile(junit, "utf8")).toContain('tests="2" failures="2" errors="0" skipped="0"');
  });

  test("2 when the gate says INCONCLUSIVE", async () => {
    const { code, stdout } = await run("eval", "run", await file(suite), "--handler", "echo", "--repeats", "2");
    expect(stdout).toMatch(/\nINCONCLUSIVE\n {2}case red has 2 trials without an error, the least is 3/);
    expect(code).toBe(2);
  });

  test("0 and 1 for what was seen with confidence 0, and a baseline that it must not fall behind", async () => {
    const path = await file(suite);
    const seen = ["--confidence", "0", "--min-repeats", "1", "--repeats", "1"];
    const outcome = await run("eval", "run", path, "--handler", "echo", ...seen, "--json");
    const { evaluationId } = JSON.parse(outcome.stdout) as { evaluationId: string };
    const against = ["--baseline", evaluationId, "--min-pass-rate", "0"];
    expect((await run("eval", "run", path, "--handler", "echo", ...seen, ...against)).code).toBe(0);
    const worse = await run(
      "eval",
      "run",
      path,
      "--handler",
      "wait_for_nobody",
      "--max-duration",
      "1s",
      ...seen,
      ...against,
    );
    expect(worse).toMatchObject({ code: 1, stdout: expect.stringContaining("DEADLINE_EXCEEDED") as string });
  });

  test("what every command ends with when it is called wrongly or refused", async () => {
    const path = await file(suite);
    expect((await run("eval", "run", path)).stderr).toContain("give --agent, --handler or --recorded");
    expect((await run("eval", "run", path, "--handler", "echo", "--model", "m")).code).toBe(2);
    expect((await run("eval", "run", path, "--recorded", "red")).code).toBe(2);
    expect((await run("eval", "run", join(folder, "none.json"), "--handler", "echo")).code).toBe(2);
    expect(await run("eval", "run", "nobody's", "--handler", "echo")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/SUITE_NOT_FOUND[^]*signalbox eval list/) as string,
    });
  });
});

test("suites are put, listed, shown and archived", async () => {
  const path = await file({ ...suite, name: "kept" }, "kept.json");
  expect(await text("eval", "put", path, "--check")).toContain("cases");
  expect((await run("eval", "show", "kept")).stderr).toContain("SUITE_NOT_FOUND");
  const { suiteId } = await json<{ suiteId: string }>("eval", "put", path);
  expect(await text("eval", "put", path)).toMatch(/version +1/);
  await until(async () => (await text("eval", "list")).includes(`${suiteId}  kept`), { what: "the suite in the list" });
  expect(await text("eval", "show", suiteId)).toMatch(/cases +red, green\n/);
  expect(await json("eval", "show", "kept")).toMatchObject({ suiteId, version: "1" });
  await run("eval", "run", "kept", "--handler", "echo", "--repeats", "1");
  const [evaluation] = await until(
    async () => {
      const all = await list<{ evaluationId: string }>("eval", "list", "--suite", "kept");
      return all.length > 0 && all;
    },
    { what: "the evaluation in the list" },
  );
  const shown = await run("eval", "show", evaluation?.evaluationId ?? "");
  expect(shown).toMatchObject({ code: 2, stdout: expect.stringContaining("suite       kept, version 1") as string });
  expect(await text("eval", "archive", "kept")).toMatch(/status +ARCHIVED/);
});

test("what is no suite is said to be none", async () => {
  const outcome = await run("eval", "put", await file({ name: "x", casses: [] }, "wrong.json"));
  expect(outcome).toMatchObject({ code: 2, stderr: expect.stringMatching(/is no suite: .*casses/) as string });
});
