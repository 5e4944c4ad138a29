import { expect, test } from "vitest";
import { KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import { PauseReason, ToolCallStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { createSignalboxClient, reasonOf, RunStatus, type SignalboxClient } from "../../src/client/client.ts";
import { ToolEffect } from "../../src/engine/worker.ts";
import type { Claim } from "../e2e/claims.ts";
import { openHands } from "../e2e/hands.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { checkInvariants, describeViolations } from "../support/invariants.ts";
import { openGate } from "../support/open-gate.ts";
import { until } from "../support/until.ts";
import { checkApprovals } from "./support/approval-invariants.ts";
import { checkKillSwitches, expectedReport, type Reported, type Told } from "./support/kill-switch-invariants.ts";
import { openPeopleInstallation } from "./support/people-installation.ts";

/** Runs of a round, and the writes of each. */
const runCount = 40;
const writeCount = 4;

/** A start that a worker was told of, and when it had asked. */
interface Start extends Told {
  readonly askedMs: number;
}

/** Makes the writes of a run, one after the other, and gives it back when one of them is stopped. */
async function work({ engine }: SignalboxClient, { leaseToken, run }: Claim, told: Start[]): Promise<boolean> {
  for (let number = 1; number <= writeCount; number++) {
    const askedMs = performance.now();
    const call = { leaseToken, key: `write-${number}`, tool: "send_mail", effect: ToolEffect.EXTERNAL_WRITE };
    const answer = await engine.startToolCall(call).catch((error: unknown): undefined => {
      if (reasonOf(error) !== "KILL_SWITCH_ON") throw error;
    });
    if (answer === undefined) {
      await engine.releaseRun({ leaseToken });
      return false;
    }
    const { toolCallId = "", lastStartPosition: position = 0n, status } = answer.toolCall ?? {};
    // A run that goes on asks for all of it again.
    if (status === ToolCallStatus.SUCCEEDED) continue;
    told.push({ workspaceId: run.workspaceId, toolCallId, position, askedMs });
    await engine.succeedToolCall({ leaseToken, toolCallId });
  }
  return true;
}

/** The whole report, page by page, and how many writes it says there are. */
async function readReport(client: SignalboxClient): Promise<{ writes: Reported[]; count: number }> {
  const writes: Reported[] = [];
  for (let pageToken = ""; ;) {
    const { stopped, nextPageToken, stoppedCount } = await client.policy.getKillSwitch({ pageToken, pageSize: 20 });
    for (const { runId, toolCallId, status, underWay, position } of stopped) {
      writes.push({ runId, toolCallId, status, underWay, position });
    }
    if (nextPageToken === "") return { writes, count: Number(stoppedCount) };
    pageToken = nextPageToken;
  }
}

const underWayIn = (writes: readonly Reported[]) =>
  new Set(writes.flatMap(({ toolCallId, underWay }) => (underWay ? [toolCallId] : [])));

test(
  "no external write starts behind the flip of a kill switch, under load on two servers",
  { timeout: 240_000 },
  async () => {
    await using installation = await openPeopleInstallation(10_000);
    const servers = await Promise.all([installation.serve(), installation.serve()]);
    await using closing = new AsyncDisposableStack();
    const open = (index: number, workspaceId: string) =>
      closing.use(createSignalboxClient({ baseUrl: servers[index]?.url ?? "", workspaceId }));
    const [workspaceId, elsewhere] = [newWorkspaceId(), newWorkspaceId()];
    const [one, two, stranger] = [open(0, workspaceId), open(1, workspaceId), open(1, elsewhere)];
    for (const client of [one, stranger]) await openGate(client);
    const told: Start[] = [];
    for (const client of [one, two]) {
      const hand = (claim: Claim) => work(client, claim, told);
      closing.use(openHands(client, { count: 8, handlers: ["writer"], work: hand }));
    }

    async function runsIn(statuses: RunStatus[]) {
      const { head: minPosition } = await installation.backend.log.bounds();
      return (await one.runs.listRuns({ statuses, pageSize: 200, minPosition })).runs;
    }

    /** Waits until no run has anything to do any more. */
    function rest(): Promise<boolean> {
      const isAtRest = async () => (await runsIn([RunStatus.QUEUED, RunStatus.RUNNING])).length === 0;
      return until(isAtRest, { what: "the runs to rest", timeoutMs: 60_000, intervalMs: 50 });
    }

    /** Flips the switch while many write, and lets them go on afterwards. */
    async function round(flipper: SignalboxClient, scope: KillSwitchScope): Promise<void> {
      const before = told.length;
      await Promise.all(Array.from({ length: runCount }, () => one.runs.createRun({ handler: "writer" })));
      const share = before + (runCount * writeCount) / 3;
      await until(() => told.length >= share, { what: "a third of the writes", timeoutMs: 60_000, intervalMs: 1 });
      const { killSwitch } = await flipper.policy.setKillSwitch({ scope, on: true, reason: "enough" });
      const acknowledgedMs = performance.now();
      const flip = killSwitch?.position ?? 0n;
      const early = await readReport(two);
      await rest();

      expect(told.filter(({ askedMs }) => askedMs > acknowledgedMs)).toEqual([]);
      const { writes, count } = await readReport(two);
      expect(writes).toEqual(expectedReport(await installation.log(), workspaceId, flip));
      expect(count).toBe(writes.length);
      // What was under way at the flip was so from the first report on.
      expect(underWayIn(early.writes)).toEqual(underWayIn(writes));
      const paused = await runsIn([RunStatus.PAUSED]);
      expect(new Set(paused.map(({ runId }) => runId))).toEqual(
        new Set(writes.flatMap(({ runId, underWay }) => (underWay ? [] : [runId]))),
      );
      expect(new Set(paused.map(({ pause }) => pause?.reason))).toEqual(new Set([PauseReason.KILL_SWITCH]));
      expect(paused.length).toBeGreaterThan(0);

      await flipper.policy.setKillSwitch({ scope, on: false });
      await Promise.all(paused.map(({ runId }) => two.runs.resumeRun({ runId })));
      await rest();
    }

    await round(two, KillSwitchScope.WORKSPACE);
    await round(stranger, KillSwitchScope.INSTALLATION);
    await round(one, KillSwitchScope.WORKSPACE);

    const succeeded = await runsIn([RunStatus.SUCCEEDED]);
    expect(succeeded).toHaveLength(3 * runCount);
    // Each write was made once.
    expect(told).toHaveLength(3 * runCount * writeCount);
    expect(new Set(told.map(({ toolCallId }) => toolCallId)).size).toBe(told.length);
    const log = await installation.log();
    const violations = [
      ...checkKillSwitches(log, told),
      ...checkApprovals(log),
      ...checkInvariants({ log: log.map(({ stored }) => stored), operations: [] }),
    ];
    expect(describeViolations(violations)).toBe("");
  },
);
