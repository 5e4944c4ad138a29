import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { startAndFollow } from "../../examples/browser.ts";
import { type Bank, refund } from "../../examples/refund.ts";
import {
  ApprovalStatus,
  ApprovalVerdict,
  jsonValue,
  RunStatus,
  type SignalboxClient,
  ToolEffect,
  valueToJson,
} from "../../src/client/client.ts";
import { claim } from "../e2e/claims.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { root } from "./documents.ts";

const installation = await openInstallation({ workers: 1 });
afterAll(() => installation[Symbol.asyncDispose]());
const env = { ...process.env, SIGNALBOX_URL: installation.url };
const example = (name: string) => join(root, "examples", name);
const hasPython = spawnSync("python3", ["--version"]).status === 0;

async function openExample(name: string) {
  const program = name.endsWith(".py") ? "python3" : process.execPath;
  const child: ChildProcess = spawn(program, [example(name)], {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exited = once(child, "exit");
  return {
    /** The exit code after Ctrl-C. */
    async interrupt(): Promise<number | null> {
      child.kill("SIGINT");
      await exited;
      return child.exitCode;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

test("the worker works for the client, a repeated request answers the same run, and Ctrl-C ends the worker", async () => {
  await using worker = await openExample("worker.ts");
  const run = () => promisify(execFile)(process.execPath, [example("client.ts")], { env });
  const { stdout } = await run();
  expect(stdout).toMatch(/run\.created\n.*run\.claimed\n.*step\.started\n.*step\.completed\n.*run\.succeeded\n/);
  expect(stdout).toContain("greeting: 'Hello, Ada!'");
  expect((await run()).stdout).toBe(stdout);
  expect(await worker.interrupt()).toBe(0);
});

test("a file is uploaded, listed, downloaded, and led to by a link", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [example("artifact.ts")], { env });
  expect(stdout).toMatch(/^report\.md 14n [0-9a-f]{64}\n# All is well\nhttp/);
  const url = stdout.trimEnd().split("\n").at(-1) ?? "";
  expect(await (await fetch(url)).text()).toBe("# All is well\n");
});

test("what the page does works wherever there is fetch", async () => {
  const lines: string[] = [];
  await startAndFollow(installation.url, (line) => lines.push(line));
  expect(lines).toEqual(["run.created", "run.claimed", "run.succeeded"]);
});

/** The approval that the run waits for, as soon as there is one. */
/** What the run asks; `minPosition` leaves out what was decided by then. */
async function pendingOf({ approvals }: SignalboxClient, runId: string, minPosition = 0n) {
  const [approval] = await until(
    async () => {
      const page = await approvals.listApprovals({ runId, statuses: [ApprovalStatus.PENDING], minPosition });
      return page.approvals.length > 0 && page.approvals;
    },
    { what: "an approval" },
  );
  const { approvalId = "", payloadDigest = "" } = approval ?? {};
  return { approvalId, payloadDigest };
}

test.runIf(hasPython)(
  "a worker in Python sends what people have made of its mail, and tells what they refuse",
  async () => {
    await using _worker = await openExample("worker.py");
    const client = installation.client();
    const begin = async () => {
      const { run } = await client.runs.createRun({
        handler: "send_mail",
        input: jsonValue({ to: "ada@example.com" }),
      });
      const runId = run?.runId ?? "";
      return { runId, ...(await pendingOf(client, runId)) };
    };
    const { runId, ...pending } = await begin();
    const edit = { ...pending, payload: jsonValue({ to: "bob@example.com" }) };
    const { payloadDigest = "" } = (await client.approvals.editApproval(edit)).approval ?? {};
    await client.approvals.decideApproval({ ...pending, payloadDigest, verdict: ApprovalVerdict.APPROVE });
    const { run: ended } = await client.runs.waitRun({ runId });
    expect(ended?.status).toBe(RunStatus.SUCCEEDED);
    const { toolCalls } = await client.runs.listToolCalls({ runId, minPosition: ended?.position ?? 0n });
    expect(toolCalls.map((call) => valueToJson(call.arguments))).toEqual([{ to: "bob@example.com" }]);

    const refused = await begin();
    const denial = { approvalId: refused.approvalId, verdict: ApprovalVerdict.DENY, comment: "not today" };
    await client.approvals.decideApproval(denial);
    const { run: failed } = await client.runs.waitRun({ runId: refused.runId });
    expect(failed?.error).toMatchObject({ code: "APPROVAL_DENIED", message: "user:local has denied it: not today" });
  },
);

describe("a refund whose worker died", () => {
  async function approve(client: SignalboxClient, runId: string, minPosition = 0n): Promise<bigint> {
    const asked = await pendingOf(client, runId, minPosition);
    return (await client.approvals.decideApproval({ ...asked, verdict: ApprovalVerdict.APPROVE })).position;
  }

  async function refunded(handler: string, bank: Bank, isMadeAgain: boolean) {
    const client = installation.client();
    await client.runs.createRun({ handler });
    const { run, leaseToken } = await claim(client, handler);
    const call = { leaseToken, key: "refund", tool: "bank.transfer", effect: ToolEffect.EXTERNAL_WRITE };
    const startIt = () => client.engine.startToolCall({ ...call, arguments: jsonValue({ cents: 1200 }) });
    await expect(startIt()).rejects.toThrow(/waits for appr_/);
    const approvedAt = await approve(client, run.runId);
    await startIt();
    await client.engine.releaseRun({ leaseToken });
    installation.worker({ handlers: { [handler]: refund(bank) } });
    // What had no effect is approved for another time.
    if (isMadeAgain) await approve(client, run.runId, approvedAt);
    const { run: ended } = await client.runs.waitRun({ runId: run.runId });
    expect(ended).toMatchObject({ status: RunStatus.SUCCEEDED });
    return valueToJson(ended?.output);
  }

  test("is not made again when the bank knows it", async () => {
    const bank: Bank = { find: async () => "transfer 7", transfer: () => Promise.reject(new Error("made twice")) };
    expect(await refunded("refund_known", bank, false)).toBe("transfer 7");
  });

  test("is made when the bank does not know it", async () => {
    const bank: Bank = { find: async () => undefined, transfer: async () => "transfer 8" };
    expect(await refunded("refund_unknown", bank, true)).toBe("transfer 8");
  });
});
