import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { ApprovalDecided, ApprovalRequested } from "../../gen/signalbox/v1/approval_event_pb.ts";
import { ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { WakeCondition } from "../../gen/signalbox/v1/run_pb.ts";
import { terminalRunTypes } from "../eventlog/event-type.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { Background } from "../kernel/background.ts";
import type { Clock } from "../kernel/clock.ts";
import { createDueTimers, type Due } from "../readmodel/due-timers.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { Approvals } from "./approvals.ts";
import { type ApprovalPayload, isApprovalPayload } from "./resource.ts";
import { createOpenSet } from "./open-set.ts";
import { abandonedApprovals, dueApprovals, type OpenApproval, openApprovals, untoldDecisions } from "./open-queries.ts";

/** Tells a run how an approval was decided. More than once does no harm. `cause` is the event that it follows from. */
export type TellRun = (
  workspaceId: string,
  runId: string,
  approvalId: string,
  status: ApprovalStatus,
  cause?: Event,
) => Promise<unknown>;

/** What follows from approvals, and what they follow from. */
export interface Reactions extends Disposable {
  /** Learns of the open approvals from the tables, which must have every event that `take` is not given. */
  start(): Promise<void>;
  /** Reacts to a new event. */
  take(record: EventRecord): void;
  /**
   * Looks up, when there is reason to, what was missed. The tables are at `position` or behind it. Returns in how many
   * milliseconds it is due again.
   */
  sweep(position: bigint): Promise<number>;
}

/** What reactions need. */
export interface ReactionsDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly approvals: Pick<Approvals, "passTime" | "drop">;
  readonly tellRun: TellRun;
  /** The hash of the policy that holds now. */
  readonly policyHashOf: (workspaceId: string) => Promise<string>;
  readonly background: Background;
}

const pageSize = 5_000;
/** Look-ups without any reason come every so many sweeps. */
const lookEvery = 12;
const policyChanged = "the policy has changed";
const runEnded = "its run has ended";

/** Nothing is known yet. */
export function createReactions(deps: ReactionsDeps): Reactions {
  const { db, clock, approvals, tellRun, policyHashOf, background } = deps;
  const open = createOpenSet();
  // What the policies were changed to since we listen: an approval may be asked for just when its policy changes.
  const policyHashes = new Map<string, string>();
  const timers = createDueTimers({ clock, background, find: findDue });
  /** Something may have been missed; the tables show it from this position on. Who began just now does not know what was before. */
  let doubtPosition: bigint | undefined = 0n;
  let sweeps = 0;
  const doubt = (position = 0n) => {
    if (doubtPosition === undefined || doubtPosition < position) doubtPosition = position;
  };

  async function findDue(by: Date, limit: number): Promise<Due[]> {
    const found = await dueApprovals(db, by, limit);
    return found.map(({ workspaceId, approvalId, dueTime }) => due(workspaceId, approvalId, dueTime.getTime()));
  }

  // The time is part of the key: when an approval is held and goes on, what rings in vain does no harm.
  function due(workspaceId: string, approvalId: string, timeMs: number): Due {
    const key = `${workspaceId}/${approvalId}/${timeMs}`;
    return { key, timeMs, act: () => approvals.passTime(workspaceId, approvalId) };
  }

  function setTimer(workspaceId: string, approvalId: string, time: Timestamp | undefined): void {
    if (time !== undefined) timers.set(due(workspaceId, approvalId, timestampMs(time)));
  }

  function tell(
    { workspaceId, approvalId, runId }: Omit<OpenApproval, "policyHash">,
    status: ApprovalStatus,
    cause?: Event,
  ) {
    background.start(
      () => tellRun(workspaceId, runId, approvalId, status, cause),
      () => doubt(),
    );
  }

  function drop({ workspaceId, approvalId }: OpenApproval, reason: string, cause?: Event): void {
    background.start(
      () => approvals.drop(workspaceId, approvalId, reason, cause),
      () => doubt(),
    );
  }

  function onRequest(
    event: Event,
    approvalId: string,
    { runId, decision, expireTime, escalateTime }: ApprovalRequested,
  ) {
    const { workspaceId } = event;
    const approval = { workspaceId, approvalId, runId, policyHash: decision?.policyHash ?? "" };
    open.add(approval);
    setTimer(workspaceId, approvalId, expireTime);
    setTimer(workspaceId, approvalId, escalateTime);
    const present = policyHashes.get(workspaceId);
    if (present !== undefined && present !== approval.policyHash) drop(approval, policyChanged, event);
  }

  function onDecision(event: Event, approvalId: string, { status, expireTime }: ApprovalDecided): void {
    setTimer(event.workspaceId, approvalId, expireTime);
    if (status === ApprovalStatus.DENIED) return onEnd(event, approvalId, status);
    const approval = open.get(event.workspaceId, approvalId);
    if (approval !== undefined && status === ApprovalStatus.APPROVED) tell(approval, status, event);
  }

  function onEnd(event: Event, approvalId: string, status: ApprovalStatus): void {
    const approval = open.remove(event.workspaceId, approvalId);
    if (approval !== undefined && status !== ApprovalStatus.CONSUMED) tell(approval, status, event);
  }

  function onPolicy(event: Event, policyHash: string): void {
    policyHashes.set(event.workspaceId, policyHash);
    for (const approval of open.ofWorkspace(event.workspaceId)) {
      if (approval.policyHash !== policyHash) drop(approval, policyChanged, event);
    }
  }

  function onChange(event: Event, id: string, payload: ApprovalPayload): void {
    switch (payload.case) {
      case "approvalRequested":
        return onRequest(event, id, payload.value);
      case "approvalDecided":
        return onDecision(event, id, payload.value);
      case "approvalExpired":
        return onEnd(event, id, ApprovalStatus.EXPIRED);
      case "approvalCanceled":
        return onEnd(event, id, ApprovalStatus.CANCELED);
      case "approvalConsumed":
        return onEnd(event, id, ApprovalStatus.CONSUMED);
      case "approvalEdited":
      case "approvalDelegated":
      case "approvalEscalated":
        return;
    }
  }

  /** True unless a condition is an approval that is decided already: it is being told just now, or nobody listened then. */
  function waitsForOpen(workspaceId: string, conditions: readonly WakeCondition[]): boolean {
    return conditions.every(
      ({ condition }) =>
        condition.case !== "approval" || open.get(workspaceId, condition.value.approvalId) !== undefined,
    );
  }

  function take({ event, position }: EventRecord): void {
    const { payload, workspaceId } = event;
    const id = event.stream?.id ?? "";
    if (isApprovalPayload(payload)) return onChange(event, id, payload);
    if (payload.case === "policyPut") return onPolicy(event, payload.value.policy?.policyHash ?? "");
    if (payload.case === "runSuspended" && !waitsForOpen(workspaceId, payload.value.conditions)) doubt(position);
    if (!terminalRunTypes.has(event.type)) return;
    for (const approval of open.ofRun(workspaceId, id)) drop(approval, runEnded, event);
  }

  async function lookUp(): Promise<void> {
    const [untold, abandoned] = await Promise.all([untoldDecisions(db, pageSize), abandonedApprovals(db, pageSize)]);
    for (const approval of untold) tell(approval, approval.status);
    for (const approval of abandoned) drop(approval, runEnded);
    for (const workspaceId of open.workspaceIds()) {
      // Taken before the policy is read: what is asked for from now on may rest on a newer one.
      const asked = open.ofWorkspace(workspaceId);
      const present = await policyHashOf(workspaceId);
      for (const approval of asked) if (approval.policyHash !== present) drop(approval, policyChanged);
    }
    if (untold.length === pageSize || abandoned.length === pageSize) doubt();
  }

  return {
    async start() {
      for (let after: bigint | undefined = 0n; after !== undefined;) {
        const page: Awaited<ReturnType<typeof openApprovals>> = await openApprovals(db, after, pageSize);
        for (const approval of page.approvals) open.add(approval);
        ({ after } = page);
      }
    },
    take,
    async sweep(position) {
      const nextMs = await timers.sweep();
      sweeps++;
      const before = doubtPosition;
      if (before === undefined && sweeps % lookEvery !== 0) return nextMs;
      // What the tables do not show yet is for the next time.
      if (before !== undefined && before <= position) doubtPosition = undefined;
      try {
        await lookUp();
      } catch (error) {
        doubt(before);
        throw error;
      }
      return nextMs;
    },
    [Symbol.dispose]: () => timers[Symbol.dispose](),
  };
}
