import { randomInt } from "node:crypto";
import { expect, test } from "vitest";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import {
  createSignalboxClient,
  jsonValue,
  metadataOf,
  reasonOf,
  RunStatus,
  type SignalboxClient,
  valueToJson,
} from "../../src/client/client.ts";
import { ToolEffect } from "../../src/engine/worker.ts";
import type { Claim } from "../e2e/claims.ts";
import { openHands } from "../e2e/hands.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { checkInvariants, describeViolations, type LogEvent } from "../support/invariants.ts";
import { createSeeded, type Seeded } from "../support/seeded.ts";
import { until } from "../support/until.ts";
import { checkApprovals, type Effect } from "./support/approval-invariants.ts";
import { openPeopleInstallation } from "./support/people-installation.ts";

const count = Number(process.env["SIGNALBOX_APPROVALS"] ?? 1_000);
const seed = Number(process.env["SIGNALBOX_FAULT_SEED"] ?? randomInt(1_000_000));
const deciders = 8;
const timeoutMs = 30_000 + count * 200;
const { APPROVE, DENY } = ApprovalVerdict;

/** Makes the one call of the run; gives the run back until people have decided, and ends it as they did. */
async function work({ engine }: SignalboxClient, { leaseToken, run }: Claim, effects: Effect[]): Promise<boolean> {
  const call = { tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE, arguments: jsonValue({ run: run.runId }) };
  try {
    const { toolCall } = await engine.startToolCall({ leaseToken, key: "mail", ...call });
    const toolCallId = toolCall?.toolCallId ?? "";
    effects.push({ toolCallId, args: valueToJson(toolCall?.arguments) ?? null });
    await engine.succeedToolCall({ leaseToken, toolCallId });
    return true;
  } catch (error) {
    const reason = reasonOf(error) ?? "";
    if (reason === "APPROVAL_DENIED") await engine.failRun({ leaseToken, error: { code: reason } });
    else if (reason === "APPROVAL_REQUIRED") {
      const { approval_id: approvalId = "" } = metadataOf(error);
      const condition = { case: "approval", value: { approvalId } } as const;
      await engine.suspendRun({ leaseToken, conditions: [{ condition }] });
    } else throw error;
    return false;
  }
}

async function createRuns(clients: readonly SignalboxClient[]): Promise<void> {
  const createSome = async (client: SignalboxClient, first: number) => {
    for (let index = first; index < count; index += deciders) await client.runs.createRun({ handler: "mailer" });
  };
  await Promise.all(Array.from({ length: deciders }, (_, first) => createSome(pick(clients, first), first)));
}

function pick<T>(items: readonly T[], index: number): T {
  const item = items[index % items.length];
  if (item === undefined) throw new RangeError("nothing to pick from");
  return item;
}

/** Every approval of the workspace that waits to be decided, once there are as many as runs. */
async function pending(client: SignalboxClient): Promise<Approval[]> {
  const list = async () => {
    const all: Approval[] = [];
    for (let pageToken = ""; ;) {
      const page = { statuses: [ApprovalStatus.PENDING], pageSize: 200, pageToken };
      const { approvals, nextPageToken } = await client.approvals.listApprovals(page);
      all.push(...approvals);
      if (nextPageToken === "") return all.length === count && all;
      pageToken = nextPageToken;
    }
  };
  return until(list, { what: `${count} approvals`, timeoutMs, intervalMs: 200 });
}

/** What one decider says to one approval. */
interface Saying {
  readonly approval: Approval;
  readonly verdict: ApprovalVerdict;
}

/** What each decider says, in random order. Some approvals are decided on by two, the same or the opposite. */
function sayingsOf(approvals: readonly Approval[], random: Seeded): Saying[][] {
  const sayings = Array.from({ length: deciders }, (): Saying[] => []);
  for (const approval of approvals) {
    const verdict = random.oneIn(4) ? DENY : APPROVE;
    random.pick(sayings).push({ approval, verdict });
    if (random.oneIn(5)) random.pick(sayings).push({ approval, verdict: random.pick([APPROVE, DENY]) });
  }
  return sayings.map((own) => shuffled(own, random));
}

function shuffled<T>(items: readonly T[], random: Seeded): T[] {
  return items
    .map((item) => ({ item, place: random.below(1_000_000_000) }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** Says everything, one after the other. Somebody else may have been first, and the approval have been used since. */
async function decideAll(client: SignalboxClient, sayings: readonly Saying[]): Promise<void> {
  for (const { approval, verdict } of sayings) {
    const { approvalId, payloadDigest } = approval;
    try {
      await client.approvals.decideApproval({ approvalId, payloadDigest, verdict });
    } catch (error) {
      if (!tooLate.has(reasonOf(error) ?? "")) throw error;
    }
  }
}

const tooLate: ReadonlySet<string> = new Set(["APPROVAL_ALREADY_DECIDED", "APPROVAL_CONSUMED"]);

/** How many runs ended how, by what people had decided at first, as `APPROVE run.succeeded`. */
function endings(log: readonly LogEvent[]): Record<string, number> {
  const verdicts = new Map<string, string>();
  const runs = new Map<string, string>();
  const counts: Record<string, number> = {};
  for (const { event } of log) {
    const { payload } = event;
    if (payload.case === "approvalRequested") runs.set(event.stream?.id ?? "", payload.value.runId);
    if (payload.case === "approvalDecided") {
      const runId = runs.get(event.stream?.id ?? "") ?? "";
      verdicts.set(runId, verdicts.get(runId) ?? (payload.value.verdict === APPROVE ? "approved" : "denied"));
    }
    if (payload.case !== "runSucceeded" && payload.case !== "runFailed") continue;
    const code = payload.case === "runFailed" ? ` ${payload.value.error?.code}` : "";
    const ending = `${verdicts.get(event.stream?.id ?? "")}: ${event.type}${code}`;
    counts[ending] = (counts[ending] ?? 0) + 1;
  }
  return counts;
}

test(
  `${count} approvals decided in random order by ${deciders} on two servers: each is used once or not at all, and every run wakes (SIGNALBOX_FAULT_SEED=${seed}, SIGNALBOX_APPROVALS=${count})`,
  { timeout: 2 * timeoutMs },
  async () => {
    await using installation = await openPeopleInstallation(10_000);
    const servers = await Promise.all([installation.serve(), installation.serve()]);
    const workspaceId = newWorkspaceId();
    await using closing = new AsyncDisposableStack();
    const clients = servers.map(({ url: baseUrl }) => closing.use(createSignalboxClient({ baseUrl, workspaceId })));
    const effects: Effect[] = [];
    for (const client of clients) {
      const hand = (claim: Claim) => work(client, claim, effects);
      closing.use(openHands(client, { count: 8, handlers: ["mailer"], work: hand }));
    }
    await createRuns(clients);
    const approvals = await pending(pick(clients, 0));
    const sayings = sayingsOf(approvals, createSeeded(seed));
    await Promise.all(
      sayings.map((own, index) => decideAll(pick(clients, index).onBehalfOf(`user:decider-${index}`), own)),
    );
    const open = [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING];
    const isOver = async () =>
      (await pick(clients, 1).runs.listRuns({ statuses: open, pageSize: 1 })).runs.length === 0;
    await until(isOver, { what: "every run to end", timeoutMs, intervalMs: 100 });

    const log = await installation.log();
    const violations = [
      ...checkApprovals(log, effects),
      ...checkInvariants({ log: log.map(({ stored }) => stored), operations: [] }),
    ];
    expect(describeViolations(violations)).toBe("");
    const ended = endings(log);
    const approved = ended["approved: run.succeeded"] ?? 0;
    const denied = ended["denied: run.failed APPROVAL_DENIED"] ?? 0;
    expect(ended).toEqual({ "approved: run.succeeded": approved, "denied: run.failed APPROVAL_DENIED": denied });
    expect(approved + denied).toBe(count);
    expect(effects).toHaveLength(approved);
    expect(Math.min(approved, denied)).toBeGreaterThan(count / 10);
  },
);
