import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import type { Program } from "../../src/stack/child.ts";
import type { StackError } from "../../src/stack/stack-error.ts";
import { supervise } from "../../src/stack/supervisor.ts";
import { until } from "../support/until.ts";
import { temporaryFolder } from "./folder.ts";

const never = new AbortController().signal;

function shell(folder: string, text: string, options: Partial<Program> = {}): Program {
  return {
    name: "program",
    command: { file: "/bin/sh", args: ["-c", text] },
    cwd: folder,
    logFile: join(folder, "program.log"),
    pidFile: join(folder, "program.pid"),
    stopSignal: "SIGTERM",
    stopTimeoutMs: 5_000,
    startTimeoutMs: 5_000,
    isReady: async (pid) => (await logOf(folder)).includes(`ready ${pid}\n`),
    ...options,
  };
}

function supervision(options: { signal?: AbortSignal; deaths?: number } = {}) {
  const { signal = never, deaths = 5 } = options;
  return {
    log: pino({ level: "silent" }),
    onFatal: vi.fn<(error: StackError) => void>(),
    signal,
    patience: { deaths, windowMs: 60_000 },
  };
}

async function logOf(folder: string): Promise<string> {
  return readFile(join(folder, "program.log"), "utf8");
}

async function pidOf(folder: string): Promise<number> {
  return Number(await readFile(join(folder, "program.pid"), "utf8"));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("returns once the program is ready and stops it when disposed, once or twice", async () => {
  await using folder = await temporaryFolder();
  const running = await supervise(shell(folder.path, "echo ready $$; exec sleep 60"), supervision());
  const pid = await pidOf(folder.path);
  expect(isAlive(pid)).toBe(true);
  await Promise.all([running[Symbol.asyncDispose](), running[Symbol.asyncDispose]()]);
  expect(isAlive(pid)).toBe(false);
  await running[Symbol.asyncDispose]();
});

test("kills a program that does not stop when asked", async () => {
  await using folder = await temporaryFolder();
  const program = shell(folder.path, "trap '' TERM; echo ready $$; while :; do sleep 0.01; done", {
    stopTimeoutMs: 50,
  });
  const running = await supervise(program, supervision());
  const pid = await pidOf(folder.path);
  await running[Symbol.asyncDispose]();
  expect(isAlive(pid)).toBe(false);
});

test("starts a program again that dies", async () => {
  await using folder = await temporaryFolder();
  const options = supervision();
  await using _running = await supervise(shell(folder.path, "echo ready $$; exec sleep 60"), options);
  const first = await pidOf(folder.path);
  process.kill(first, "SIGKILL");
  const second = await until(async () => (await pidOf(folder.path)) !== first && pidOf(folder.path), {
    what: "a restart",
  });
  expect(isAlive(second)).toBe(true);
  expect(options.onFatal).not.toHaveBeenCalled();
});

test("gives a program up that dies again and again, naming the log, once", async () => {
  await using folder = await temporaryFolder();
  const options = supervision({ deaths: 3 });
  await using _running = await supervise(shell(folder.path, "echo ready $$; sleep 0.1; exit 7"), options);
  await until(() => options.onFatal.mock.calls.length, { what: "the program to be given up" });
  expect(options.onFatal).toHaveBeenCalledOnce();
  const [error] = options.onFatal.mock.calls[0] ?? [];
  expect(error?.message).toMatch(
    /^program died 3 times within \d+ s and is given up; the last time: it exited with code 7$/,
  );
  expect(error?.hint).toContain(`Its log is ${join(folder.path, "program.log")}.`);
});

test("gives a program up that no longer starts", async () => {
  await using folder = await temporaryFolder();
  const options = supervision({ deaths: 3 });
  const text = "[ -e started ] && echo broken && exit 8; touch started; echo ready $$; sleep 0.1";
  await using _running = await supervise(shell(folder.path, text), options);
  await until(() => options.onFatal.mock.calls.length, { what: "the program to be given up" });
  expect(options.onFatal.mock.calls[0]?.[0].message).toMatch(
    /^program died 3 times .*; the last time: program did not start: it exited with code 8\n {2}\| broken$/,
  );
});

test("a first start that fails is an error with the last lines of the log, and is not repeated", async () => {
  await using folder = await temporaryFolder();
  const start = supervise(shell(folder.path, "echo one; echo two >&2; exit 3"), supervision());
  await expect(start).rejects.toMatchObject({
    name: "StackError",
    message: "program did not start: it exited with code 3\n  | one\n  | two",
    hint: `Its log is ${join(folder.path, "program.log")}.`,
  });
});

test("a program that is not ready in time is stopped", async () => {
  await using folder = await temporaryFolder();
  let pid = 0;
  const isReady = async (started: number) => {
    pid = started;
    return false;
  };
  const program = shell(folder.path, "exec sleep 60", { startTimeoutMs: 50, isReady });
  await expect(supervise(program, supervision())).rejects.toThrow(
    "program did not start: it was not ready after 50 ms",
  );
  expect(isAlive(pid)).toBe(false);
});

test("a program that does not exist is an error", async () => {
  await using folder = await temporaryFolder();
  const program = shell(folder.path, "", { command: { file: join(folder.path, "no-such-program"), args: [] } });
  await expect(supervise(program, supervision())).rejects.toThrow("program could not be started: spawn");
});

test("aborting ends the first start and stops the program", async () => {
  await using folder = await temporaryFolder();
  const aborting = new AbortController();
  let pid = 0;
  const isReady = async (started: number) => {
    pid = started;
    aborting.abort(new Error("interrupted"));
    return false;
  };
  const start = supervise(shell(folder.path, "exec sleep 60", { isReady }), supervision({ signal: aborting.signal }));
  await expect(start).rejects.toThrow("interrupted");
  expect(isAlive(pid)).toBe(false);
});
