import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { signalbox, spawnSignalbox, startSignalbox } from "./signalbox.ts";

const installation = await openInstallation({ workers: 1 });
afterAll(() => installation[Symbol.asyncDispose]());
const env = { SIGNALBOX_URL: installation.url };

interface JsonRun {
  readonly runId: string;
  readonly status: string;
  readonly input?: unknown;
  readonly output?: unknown;
  readonly labels?: Record<string, string>;
}

function lines<T>(text: string): T[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await signalbox([...args, "--json"], env);
  if (code !== exitCodes.ok) throw new Error(`signalbox ${args.join(" ")} exited with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

describe("run", () => {
  test("--watch tells the events until the run has ended, and exits with 0 when it succeeded", async () => {
    const { code, stdout } = await signalbox(["run", "steps", "--input", '{"count":2}', "--watch"], env);
    expect(code).toBe(exitCodes.ok);
    const told = stdout.split("\n").map((line) => line.trim().split(/ {2,}/)[1]);
    expect(told.filter((type) => type !== undefined)).toEqual([
      "run.created",
      "run.claimed",
      "step.started",
      "step.completed",
      "step.started",
      "step.completed",
      "run.succeeded",
    ]);
  });

  test("--watch --json prints one event per line", async () => {
    const { stdout } = await signalbox(["run", "echo", "--watch", "--json"], env);
    expect(lines<{ type: string }>(stdout).map(({ type }) => type)).toEqual([
      "run.created",
      "run.claimed",
      "run.succeeded",
    ]);
  });

  test("--watch exits with 1 when the run failed, and says why", async () => {
    const { code, stdout } = await signalbox(["run", "flaky", "--input", '{"failures":-1}', "--watch"], env);
    expect(code).toBe(exitCodes.failed);
    expect(stdout).toContain("HANDLER_FAILED  INVALID_INPUT");
  });

  test("--wait shows the run that has ended", async () => {
    const run = await json<JsonRun>("run", "echo", "--input", '{"hello":"world"}', "--wait");
    expect(run).toMatchObject({ status: "RUN_STATUS_SUCCEEDED", output: { hello: "world" } });
  });

  test("takes its input from a file or from stdin", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "input.json");
    await writeFile(file, "[1,2]");
    expect(await json<JsonRun>("run", "echo", "--input", `@${file}`)).toMatchObject({ input: [1, 2] });
    const { stdout } = await spawnSignalbox(["run", "echo", "--input", "-", "--json"], env, '"from stdin"');
    expect(JSON.parse(stdout)).toMatchObject({ input: "from stdin" });
  });

  test("answers the same run to the same --request-id, and refuses another body", async () => {
    const id = newWorkspaceId();
    const first = await json<JsonRun>("run", "echo", "--request-id", id);
    const second = await json<JsonRun>("run", "echo", "--request-id", id);
    expect(second.runId).toBe(first.runId);
    const { code, stderr } = await signalbox(["run", "echo", "--input", "1", "--request-id", id], env);
    expect(code).toBe(exitCodes.failed);
    expect(stderr).toContain("(REQUEST_ID_REUSED)");
  });

  test("passes on labels, queue and the longest time", async () => {
    const options = ["--label", "a=1", "--label", "b=2", "--queue", "nobody", "--max-duration", "1m"];
    expect(await json("run", "echo", ...options)).toMatchObject({
      labels: { a: "1", b: "2" },
      queue: "nobody",
      deadlineTime: expect.any(String) as unknown,
    });
  });
});

describe("runs", () => {
  test("ls filters and limits, one run per line with --json", async () => {
    const label = `group=${newWorkspaceId()}`;
    const ids = [];
    for (const number of [1, 2, 3]) {
      ids.unshift((await json<JsonRun>("run", "echo", "--input", `${number}`, "--label", label, "--wait")).runId);
    }
    const list = async (...options: string[]) => {
      const { stdout } = await signalbox(["runs", "ls", "--label", label, "--json", ...options], env);
      return lines<JsonRun>(stdout).map(({ runId }) => runId);
    };
    await until(async () => (await list()).length === ids.length, { what: "the list to show every run" });
    expect(await list()).toEqual(ids);
    expect(await list("--limit", "2")).toEqual(ids.slice(0, 2));
    expect(await list("--status", "failed,canceled")).toEqual([]);
    const { stdout } = await signalbox(["runs", "ls", "--label", label], env);
    expect(stdout.split("\n")[1]).toMatch(new RegExp(`^${ids[0]} +SUCCEEDED +echo`));
  });

  test("get shows a run, steps shows its steps", async () => {
    const { runId } = await json<JsonRun>("run", "steps", "--input", '{"count":2}', "--wait");
    expect((await signalbox(["runs", "get", runId], env)).stdout).toMatch(/status +SUCCEEDED \(COMPLETED\)\n/);
    const { stdout } = await signalbox(["runs", "steps", runId], env);
    expect(stdout).toMatch(/step-1 +COMPLETED[^]*step-2 +COMPLETED/);
  });

  test("wait exits with 4 when the time is up; cancel ends the run, and wait exits with 1", async () => {
    const { runId } = await json<JsonRun>("run", "sleep", "--input", '{"ms":600000}');
    expect((await signalbox(["runs", "wait", runId, "--timeout", "100ms"], env)).code).toBe(exitCodes.timeUp);
    expect(await json("runs", "cancel", runId, "--reason", "enough")).toMatchObject({ status: "RUN_STATUS_CANCELED" });
    expect((await signalbox(["runs", "wait", runId], env)).code).toBe(exitCodes.failed);
  });

  test("--watch ends with Ctrl-C", async () => {
    await using watching = startSignalbox(["run", "echo", "--queue", "nobody", "--watch"], env);
    await watching.says("run.created");
    expect((await watching.stop("SIGINT")).code).toBe(exitCodes.interrupted);
  });

  test("get of a run that is not there says so, for people and for programs", async () => {
    const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    const { code, stderr, stdout } = await signalbox(["runs", "get", runId], env);
    expect(code).toBe(exitCodes.failed);
    expect(stderr).toMatch(/^error: .*\(RUN_NOT_FOUND\)\nhint: signalbox runs ls/);
    expect(stdout).toBe("");
    const program = await signalbox(["runs", "get", runId, "--json"], env);
    expect(JSON.parse(program.stderr)).toMatchObject({ error: { reason: "RUN_NOT_FOUND" } });
  });
});

describe("events", () => {
  test("ls lists the events of a run, some types, and what follows a position", async () => {
    const { runId } = await json<JsonRun>("run", "echo", "--wait");
    const list = async (...options: string[]) => {
      const { stdout } = await signalbox(["events", "ls", "--run", runId, "--json", ...options], env);
      return lines<{ type: string; position: string }>(stdout);
    };
    const all = await list();
    expect(all.map(({ type }) => type)).toEqual(["run.created", "run.claimed", "run.succeeded"]);
    expect((await list("--type", "run.created,run.claimed")).length).toBe(2);
    expect(await list("--from", all[1]?.position ?? "")).toEqual(all.slice(2));
    expect(await list("--limit", "1")).toEqual(all.slice(0, 1));
  });

  test("tail of a run replays it and ends with it", async () => {
    const { runId } = await json<JsonRun>("run", "echo", "--wait");
    const { code, stdout } = await signalbox(["events", "tail", "--run", runId], env);
    expect(code).toBe(exitCodes.ok);
    expect(stdout.trim().split("\n").length).toBe(3);
  });

  test("tail follows what happens from now on and ends with Ctrl-C", async () => {
    const workspace = newWorkspaceId();
    const run = () => signalbox(["run", "echo", "--workspace", workspace], env);
    await run();
    await using tail = startSignalbox(["events", "tail", "--from", "0", "--workspace", workspace], env);
    await tail.says("run.created");
    await using live = startSignalbox(["events", "tail", "--workspace", workspace, "--json"], env);
    // It starts at the present end of the log, whenever that is: so something happens until it was there.
    while (live.stdout() === "") await run();
    expect(lines(live.stdout()).length).toBeLessThan(tail.stdout().split("\n").length);
    expect((await live.stop("SIGINT")).code).toBe(exitCodes.ok);
    expect((await tail.stop("SIGTERM")).code).toBe(exitCodes.ok);
  });
});

describe("agents", () => {
  test("are created, changed, paused, resumed, asked and archived", async () => {
    interface JsonAgent {
      readonly agentId: string;
      readonly etag: string;
    }
    const options = ["--handler", "echo", "--tool", "a,b", "--zone", "supervised", "--max-duration", "1m"];
    const agent = await json<JsonAgent>("agents", "create", "--name", "Ada", ...options);
    expect(agent).toMatchObject({
      name: "Ada",
      tools: ["a", "b"],
      zone: "ZONE_SUPERVISED",
      limits: { maxDuration: "60s" },
    });
    const { agentId } = agent;
    expect(await json("agents", "update", agentId, "--model", "large", "--etag", agent.etag)).toMatchObject({
      name: "Ada",
      model: "large",
    });
    const stale = await signalbox(["agents", "update", agentId, "--model", "small", "--etag", agent.etag], env);
    expect(stale).toMatchObject({
      code: exitCodes.failed,
      stderr: expect.stringContaining("ETAG_MISMATCH") as unknown,
    });
    expect(await json("run", "--agent", agentId, "--wait")).toMatchObject({ status: "RUN_STATUS_SUCCEEDED", agentId });
    expect(await json("agents", "pause", agentId)).toMatchObject({ status: "AGENT_STATUS_PAUSED" });
    const refused = await signalbox(["run", "--agent", agentId], env);
    expect(refused).toMatchObject({ code: exitCodes.failed, stderr: expect.stringContaining("PAUSED") as unknown });
    expect(await json("agents", "resume", agentId)).toMatchObject({ status: "AGENT_STATUS_ACTIVE" });
    expect(await json("agents", "archive", agentId)).toMatchObject({ status: "AGENT_STATUS_ARCHIVED" });
    expect((await signalbox(["agents", "get", agentId], env)).stdout).toMatch(/status +ARCHIVED/);
    const archived = async () => (await signalbox(["agents", "ls", "--status", "archived"], env)).stdout;
    await until(async () => (await archived()).includes(agentId), { what: "the list to show the archived agent" });
  });
});

describe("a server that is not there", () => {
  test("gives exit code 3 and the way out, without a password in sight", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const url = `http://user:hunter2@127.0.0.1:${port}`;
    for (const args of [
      ["runs", "ls"],
      ["run", "echo", "--watch"],
      ["events", "tail"],
      ["agents", "ls"],
      ["queues", "put", "mail", "--held"],
      ["schedules", "ls"],
      ["sessions", "history", "sess_1"],
      ["documents", "search", "anything"],
      ["runs", "resume", "run_1", "--budget", "steps=1"],
    ]) {
      const { code, stderr } = await signalbox(args, { SIGNALBOX_URL: url });
      expect(code).toBe(exitCodes.unreachable);
      expect(stderr).toContain("SIGNALBOX_URL");
      expect(stderr).not.toContain("hunter2");
    }
  });
});

describe("workers", () => {
  test("ls lists who works, for people and for programs", async () => {
    const workspace = newWorkspaceId();
    await using worker = startSignalbox(["worker", "--workspace", workspace, "--concurrency", "3"], env);
    await worker.says("claims runs of");
    const list = async (...options: string[]) =>
      (await signalbox(["workers", "ls", "--workspace", workspace, ...options], env)).stdout;
    const told = await until(() => list("--json"), { what: "the worker to report" });
    expect(lines(told)).toMatchObject([
      { status: "WORKER_STATUS_ACTIVE", concurrency: 3, pid: worker.pid, queues: ["default"] },
    ]);
    expect(await list()).toMatch(/^WORKER +STATUS +BUSY .*\n.* +ACTIVE +0\/3 +default +/);
    expect((await signalbox(["workers", "list", "--workspace", newWorkspaceId()], env)).stdout).toMatch(
      /^WORKER .*\n$/,
    );
  });
});

describe("worker", () => {
  test("works on runs until it is told to stop, knowing nothing but the server", async () => {
    const workspace = newWorkspaceId();
    await using worker = startSignalbox(["worker", "--workspace", workspace, "--queues", "own"], env);
    await worker.says("claims runs of echo, sleep");
    const { code } = await signalbox(["run", "echo", "--queue", "own", "--workspace", workspace, "--wait"], env);
    expect(code).toBe(exitCodes.ok);
    expect((await worker.stop("SIGTERM")).code).toBe(exitCodes.ok);
  });
});
