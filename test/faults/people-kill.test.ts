import { join } from "node:path";
import type { Transport } from "@connectrpc/connect";
import { afterAll, describe, test } from "vitest";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  createSignalboxClient,
  jsonValue,
  reasonOf,
  RunStatus,
  type SignalboxClient,
} from "../../src/client/client.ts";
import { isTransient } from "../../src/client/contract.ts";
import { openNodeTransport } from "../../src/client/node-transport.ts";
import { createWorker } from "../../src/engine/worker.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { checkInvariants, describeViolations, type LogEvent } from "../support/invariants.ts";
import { until } from "../support/until.ts";
import { checkApprovals } from "./support/approval-invariants.ts";
import type { Failpoint } from "./support/failing-store.ts";
import { openPeopleInstallation, type OwnServer } from "./support/people-installation.ts";
import { mailTool, sentMails, writer } from "./support/post-office.ts";

const installation = await openPeopleInstallation(2_000);
afterAll(() => installation[Symbol.asyncDispose]());
const mailFile = join(installation.folder, "mails.jsonl");
// It outlives them all.
const survivor = await installation.serve({ roles: ["server", "projector"] });

/** Edits the payload and approves that, as people do who repeat what got no answer. */
async function approveWithEdits(client: SignalboxClient, { approvalId, payloadDigest }: Approval): Promise<void> {
  const [alice, bob] = [client.onBehalfOf("user:alice"), client.onBehalfOf("user:bob")];
  const payload = jsonValue({ to: "ada@example.com", text: "hello, as Alice would say it" });
  const edited = await alice.approvals.editApproval({ approvalId, payloadDigest, payload });
  const digest = edited.approval?.payloadDigest ?? "";
  const approve = { approvalId, payloadDigest: digest, verdict: ApprovalVerdict.APPROVE };
  await bob.approvals.decideApproval(approve);
}

/** Approves whatever the run waits for until it has ended. */
async function seeThrough(client: SignalboxClient, runId: string): Promise<RunStatus> {
  const look = async () => {
    try {
      const { run } = await client.runs.getRun({ runId });
      if (run?.status !== RunStatus.WAITING) return run !== undefined && ended.has(run.status) ? run.status : undefined;
      const { approvals } = await client.approvals.listApprovals({ runId, statuses: [ApprovalStatus.PENDING] });
      for (const approval of approvals) await approveWithEdits(client, approval);
    } catch (error) {
      if (!isTransient(error) && !passing.has(reasonOf(error) ?? "")) throw error;
    }
    return undefined;
  };
  return until(look, { what: `${runId} to end`, timeoutMs: 90_000, intervalMs: 25 });
}

const ended: ReadonlySet<RunStatus> = new Set([RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED]);
/** The list is behind: somebody has said all that already, and the run has moved on. */
const passing: ReadonlySet<string> = new Set([
  "INVALID_STATE",
  "APPROVAL_ALREADY_DECIDED",
  "APPROVAL_CONSUMED",
  "PAYLOAD_MISMATCH",
]);

/** A client that changes over to the survivor once the other server is gone. */
function changingOver(url: string, gone: Promise<unknown>, workspaceId: string) {
  const [first, second] = [openNodeTransport({ baseUrl: url }), openNodeTransport({ baseUrl: survivor.url })];
  let present = first.transport;
  void gone.then(() => (present = second.transport));
  const transport: Transport = {
    unary: (...call) => present.unary(...call),
    stream: (...call) => present.stream(...call),
  };
  return {
    client: createSignalboxClient({ transport, workspaceId }),
    [Symbol.dispose]() {
      first.close();
      second.close();
    },
  };
}

/** What is wrong with the workspace's part of the log and the mails that it has sent, one line each. */
async function judged(workspaceId: string): Promise<{ wrong: string; mails: number; events: LogEvent[] }> {
  const mails = sentMails(mailFile).filter((mail) => mail.workspaceId === workspaceId);
  const log = await installation.log();
  const events = log.filter(({ event }) => event.workspaceId === workspaceId);
  const inLog = checkInvariants({ log: log.map(({ stored }) => stored), operations: [] });
  return { wrong: describeViolations([...checkApprovals(events, mails), ...inLog]), mails: mails.length, events };
}

async function createRun(client: SignalboxClient): Promise<string> {
  const retryPolicy = { maxAttempts: 20, initialBackoff: { nanos: 1_000_000 } };
  return (await client.runs.createRun({ requestId: "the-run", handler: "writer", retryPolicy })).run?.runId ?? "";
}

/** Runs the writer in the workspace while the victim dies, does what is to be done then, and tells how all that ended. */
async function throughDeath(workspaceId: string, victim: OwnServer, then = async () => {}) {
  using changing = changingOver(victim.url || survivor.url, victim.exited, workspaceId);
  const { client } = changing;
  await using _worker = startWorker(client);
  const dead = victim.exited.then(async (signal) => {
    await then();
    return signal;
  });
  const [signal, status] = await Promise.all([dead, createRun(client).then((runId) => seeThrough(client, runId))]);
  return { signal, status, ...(await judged(workspaceId)) };
}

/** A worker with the writer and the tool that it calls. */
function startWorker(client: SignalboxClient): AsyncDisposable {
  const worker = createWorker({ client, handlers: { writer }, tools: [mailTool(mailFile)] });
  const working = worker.run();
  return {
    async [Symbol.asyncDispose]() {
      await worker[Symbol.asyncDispose]();
      await working;
    },
  };
}

/** The run has ended well, and its mail was sent once. */
const fine = { status: RunStatus.SUCCEEDED, wrong: "", mails: 1 };
const killed = { signal: "SIGKILL" };

// First: nobody else reacts yet.
test(
  "a run hears of the decision once, though who tells it dies before or after that",
  { timeout: 180_000 },
  async ({ expect }) => {
    const type = "run.approval_decided";
    const [one, other] = [newWorkspaceId(), newWorkspaceId()];
    const reactor = (failpoint?: Failpoint) =>
      installation.serve({ roles: ["reactors"], ...(failpoint && { failpoint }) });
    await using first = await reactor({ type, when: "before", occurrence: 1, workspaceId: one });
    let second = first;
    const before = await throughDeath(one, first, async () => {
      second = await reactor({ type, when: "after", occurrence: 1, workspaceId: other });
    });
    const after = await throughDeath(other, second, async () => void (await reactor()));
    for (const { events, ...ending } of [before, after]) {
      expect(ending).toEqual({ ...killed, ...fine });
      expect(events.filter(({ event }) => event.type === type)).toHaveLength(1);
    }
  },
);

/** From the question to the end of the effect. The second claim is that of the run that the decision has woken. */
const serverPoints: readonly Omit<Failpoint, "workspaceId">[] = [
  { type: "tool_call.gated", when: "after", occurrence: 1 },
  { type: "approval.requested", when: "after", occurrence: 1 },
  ...beforeAndAfter("approval.decided"),
  ...beforeAndAfter("run.claimed", 2),
  ...beforeAndAfter("approval.consumed"),
  ...beforeAndAfter("tool_call.started"),
  ...beforeAndAfter("tool_call.succeeded"),
];

function beforeAndAfter(type: string, occurrence = 1) {
  return (["before", "after"] as const).map((when) => ({ type, when, occurrence }));
}

describe.concurrent("a server that dies", { timeout: 180_000 }, () => {
  test.for(serverPoints)("$when $type: its effect happens once", async (point, { expect }) => {
    const workspaceId = newWorkspaceId();
    await using victim = await installation.serve({ roles: ["server"], failpoint: { ...point, workspaceId } });
    const { events: _, ...ending } = await throughDeath(workspaceId, victim);
    expect(ending).toEqual({ ...killed, ...fine });
  });
});

const workerPoints = [
  "after StartToolCall 1",
  "after SuspendRun 1",
  "before StartToolCall 2",
  "before the effect",
  "after the effect",
  "after SucceedToolCall 1",
];

/** Where it is on record that the call was started, but nobody knows what became of it. */
const unknowing: ReadonlySet<string> = new Set(["before the effect", "after the effect"]);

/** Runs the writer by a worker that dies at the point, and then by another one. */
async function throughWorkersDeath(workspaceId: string, point: string, client: SignalboxClient, url: string) {
  const env = { SIGNALBOX_URL: url, SIGNALBOX_WORKSPACE: workspaceId, MAIL_FILE: mailFile, KILLED_AT: point };
  await using victim = installation.run(new URL("support/people-worker.ts", import.meta.url), env);
  await using successors = new AsyncDisposableStack();
  const dead = victim.exited.then((signal) => {
    successors.use(startWorker(client));
    return signal;
  });
  const [signal, status] = await Promise.all([dead, createRun(client).then((runId) => seeThrough(client, runId))]);
  return { signal, status, ...(await judged(workspaceId)) };
}

describe.concurrent("a worker that dies", { timeout: 180_000 }, () => {
  test.for(workerPoints)("%s: the effect happens once", async (point, { expect }) => {
    const workspaceId = newWorkspaceId();
    using client = createSignalboxClient({ baseUrl: survivor.url, workspaceId });
    const { events, ...ending } = await throughWorkersDeath(workspaceId, point, client, survivor.url);
    expect(ending).toEqual({ ...killed, ...fine });
    expect(events.some(({ event }) => event.type === "tool_call.reconciled")).toBe(unknowing.has(point));
  });
});

const sharedPoints = serverPoints.filter(
  ({ type, when }) => when === "after" && (type === "approval.consumed" || type === "tool_call.started"),
);

describe.concurrent("a worker that dies with the server that does not answer it", { timeout: 180_000 }, () => {
  test.for(sharedPoints)("$when $type: the effect happens once", async (point, { expect }) => {
    const workspaceId = newWorkspaceId();
    await using server = await installation.serve({ roles: ["server"], failpoint: { ...point, workspaceId } });
    using changing = changingOver(server.url, server.exited, workspaceId);
    const at = "after StartToolCall 2";
    const { events, ...ending } = await throughWorkersDeath(workspaceId, at, changing.client, server.url);
    expect(await server.exited).toBe("SIGKILL");
    expect(ending).toEqual({ ...killed, ...fine });
    const isUnknown = point.type === "tool_call.started";
    expect(events.some(({ event }) => event.type === "tool_call.reconciled")).toBe(isUnknown);
  });
});
