import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { until } from "../support/until.ts";
import { postJson } from "./plain-http.ts";

const bin = fileURLToPath(new URL("../../bin/signalbox.js", import.meta.url));

/** `signalbox up`, running. Disposing it stops it. */
interface Up extends AsyncDisposable {
  readonly url: string;
  /** Everything that it has written so far, by stream. */
  readonly written: { stdout: string; stderr: string };
  /** Sends a signal and waits for the end. Resolves with the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>;
}

function start(dataDir: string) {
  const { PATH, HOME } = process.env;
  const child = spawn(process.execPath, [bin, "up"], {
    env: { PATH, HOME, SIGNALBOX_PORT: "0", SIGNALBOX_DATA_DIR: dataDir, SIGNALBOX_LEASE_TTL_MS: "2000" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { child, exited: once(child, "exit"), written: collect(child) };
}

function collect({ stdout, stderr }: ChildProcessByStdio<null, Readable, Readable>): Up["written"] {
  const written = { stdout: "", stderr: "" };
  stdout.setEncoding("utf8").on("data", (text: string) => (written.stdout += text));
  stderr.setEncoding("utf8").on("data", (text: string) => (written.stderr += text));
  return written;
}

async function openUp(dataDir: string): Promise<Up> {
  const { child, exited, written } = start(dataDir);
  async function end(signal: NodeJS.Signals) {
    child.kill(signal);
    await exited;
    return child.exitCode ?? child.signalCode;
  }
  const ready = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`signalbox up has ended: ${written.stderr}`);
      return /^signalbox ready (http:\S+)$/m.exec(written.stdout);
    },
    { what: "the ready line", timeoutMs: 20_000 },
  );
  return {
    url: ready[1] ?? "",
    written,
    end,
    [Symbol.asyncDispose]: async () => void (child.exitCode ?? child.signalCode ?? (await end("SIGTERM"))),
  };
}

interface RunAnswer {
  readonly run: { readonly runId: string; readonly status: string; readonly output?: unknown };
}
interface EventsAnswer {
  readonly events: { readonly type: string }[];
  readonly complete?: boolean;
}

function create(url: string, body: object): Promise<string> {
  return postJson<RunAnswer>(url, "RunService/CreateRun", body).then((answer) => answer.body.run.runId);
}

async function ended(url: string, runId: string): Promise<RunAnswer["run"]> {
  return (await postJson<RunAnswer>(url, "RunService/WaitRun", { runId })).body.run;
}

test("the first minute: up, a run with curl, its events, Ctrl-C, up again, and it is all there", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-up-"));
  const dataDir = join(folder.path, "data");
  await using first = await openUp(dataDir);
  const runId = await create(first.url, { handler: "echo", input: { hello: "world" } });
  const run = await ended(first.url, runId);
  expect(run).toMatchObject({ status: "RUN_STATUS_SUCCEEDED", output: { hello: "world" } });
  const events = await postJson<EventsAnswer>(first.url, "EventService/ListEvents", { filter: { runId } });
  expect(events.body.complete).toBe(true);
  expect(events.body.events.map(({ type }) => type)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
  expect(await first.end("SIGINT")).toBe(0);
  expect(first.written.stderr).not.toMatch(/"level":[456]0|warn|error/i);

  await using second = await openUp(dataDir);
  const found = await postJson<RunAnswer>(second.url, "RunService/GetRun", { runId });
  expect(found.body.run).toEqual(run);
  const again = await postJson<EventsAnswer>(second.url, "EventService/ListEvents", { filter: { runId } });
  expect(again.body).toEqual(events.body);
  expect(await second.end("SIGTERM")).toBe(0);
});

test("killed in the middle and started again: every run that was acknowledged is found, and ends", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-up-"));
  const dataDir = join(folder.path, "data");
  await using killed = await openUp(dataDir);
  const create1 = (n: number) => create(killed.url, { handler: "sleep", input: { ms: 300 + n * 10 } });
  const runIds = await Promise.all(Array.from({ length: 20 }, (_, n) => create1(n)));
  await until(async () => (await statusOf(killed.url, runIds[0])) === "RUN_STATUS_RUNNING", { what: "a run at work" });
  // What is under way while the process dies may be acknowledged or not; it was not if no answer came.
  const late = Promise.allSettled(Array.from({ length: 20 }, (_, n) => create1(n)));
  expect(await killed.end("SIGKILL")).toBe("SIGKILL");
  for (const outcome of await late) if (outcome.status === "fulfilled") runIds.push(outcome.value);

  await using again = await openUp(dataDir);
  const runs = await Promise.all(runIds.map((runId) => ended(again.url, runId)));
  expect(runs.map(({ runId }) => runId)).toEqual(runIds);
  expect(new Set(runs.map(({ status }) => status))).toEqual(new Set(["RUN_STATUS_SUCCEEDED"]));
  expect(await again.end("SIGINT")).toBe(0);
}, 60_000);

async function statusOf(url: string, runId = ""): Promise<string> {
  return (await postJson<RunAnswer>(url, "RunService/GetRun", { runId })).body.run.status;
}

test("a second up on the same data folder is refused with the way out, and the first one goes on", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "signalbox-up-"));
  const dataDir = join(folder.path, "data");
  await using first = await openUp(dataDir);
  const { child, exited, written } = start(dataDir);
  await exited;
  expect(child.exitCode).toBeGreaterThan(0);
  expect(written.stderr).toContain(dataDir);
  expect(written.stderr).toContain("SIGNALBOX_DATA_DIR");
  expect(written.stderr).not.toMatch(/\bat .*\.ts:\d+/);
  expect(await ended(first.url, await create(first.url, { handler: "echo" }))).toMatchObject({
    status: "RUN_STATUS_SUCCEEDED",
  });
});
