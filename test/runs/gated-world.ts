import { create, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { DecideApprovalRequestSchema, EditApprovalRequestSchema } from "../../gen/signalbox/v1/approval_service_pb.ts";
import type { ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { StartToolCallRequestSchema } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { SetKillSwitchRequestSchema } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { createApprovals } from "../../src/approvals/approvals.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { Feed } from "../../src/eventlog/feed.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { EventRecord } from "../../src/eventlog/record.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { createLeaseTokens } from "../../src/jobs/lease-token.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createCedar } from "../../src/policy/cedar.ts";
import { createGate } from "../../src/policy/gate.ts";
import { createKillSwitches } from "../../src/policy/kill-switches.ts";
import { createPolicyBook } from "../../src/policy/policy-book.ts";
import { createLeasedRuns } from "../../src/runs/leased-runs.ts";
import { createRunRecord } from "../../src/runs/run-record.ts";
import { runAggregate } from "../../src/runs/state.ts";
import { createStepApprovals } from "../../src/runs/step-approvals.ts";
import { createWork } from "../../src/runs/work.ts";
import { claimed, created, type Decide, newRun, start, text } from "./scenario.ts";

const workspaceId = "ws_test";
const tokens = createLeaseTokens(new Uint8Array(32));
const limits = { maxInputBytes: 10_000, maxOutputBytes: 10_000 };
const notHere = (): never => {
  throw new Error("these tests neither list nor follow");
};

/** A caller by kind and name. */
function callOf(type: PrincipalType, id: string) {
  const principal = create(PrincipalSchema, { type, id });
  return { workspaceId, principal, correlationId: "corr", traceparent: "", signal: new AbortController().signal };
}

/** The worker of the run, and a person who had no part in it. */
export const worker = callOf(PrincipalType.SERVICE, "worker");
const alice = callOf(PrincipalType.USER, "alice");
/** Who has created the run. */
const carol = callOf(PrincipalType.USER, "carol");

/** The token of a lease of the run. */
export const leaseToken = (lease: string): string =>
  tokens.seal({ workspaceId, runId: "run_1", leaseId: `lease_${lease}`, ackSubject: "ack" });

/** What of a call differs from the usual one. */
export type ToolCallInit = Exclude<MessageInitShape<typeof StartToolCallRequestSchema>, Message>;

/** A payment outside by the run's worker, unless told otherwise. */
export function payment(lease: string, more: ToolCallInit = {}) {
  const call = { key: "pay", tool: "pay", effect: ToolEffect.EXTERNAL_WRITE, arguments: text("100 EUR") };
  return create(StartToolCallRequestSchema, { ...call, ...more, leaseToken: leaseToken(lease) });
}

/** A server with the gate, the policies and the approvals of production over a store; it knows nothing at first. */
export function startServer(store: LogStore) {
  let nowMs = start.getTime();
  const clock = { now: () => new Date(nowMs) };
  const log = createEventLog(store, createSubjects());
  const deps = { log, clock, ids };
  const alarms: string[] = [];
  const alarm = {
    fencedWrite: (_workspace: string, runId: string, leaseId: string) => void alarms.push(`fenced ${runId} ${leaseId}`),
    payloadMismatch: (_workspace: string, runId: string) => void alarms.push(`mismatch ${runId}`),
  };
  const book = createPolicyBook({ ...deps, cedar: createCedar() });
  const feed: Feed = { position: 0n, subscribe: notHere, [Symbol.asyncDispose]: async () => {} };
  const switches = createKillSwitches({ ...deps, feed });
  const gate = createGate(book, switches);
  const approvals = createApprovals({
    ...deps,
    lists: { approvals: notHere },
    positions: { reach: async () => {} },
    limits,
    rolesOf: book.rolesOf,
  });
  const aggregates = createAggregates(runAggregate, deps);
  const work = createWork({ aggregates, record: createRunRecord(log), tokens, limits, gate, approvals, alarm });
  const leased = createLeasedRuns({ aggregates, alarm });

  async function onApproval<T>(id: string, then: (digest: string) => Promise<T>): Promise<T> {
    return then((await approvals.find(workspaceId, id))?.payloadDigest ?? "");
  }

  return {
    work,
    steps: createStepApprovals({ leased, tokens, limits, gate, approvals, alarm }),
    approvals,
    alarms,
    pass: (ms: number) => void (nowMs += ms),
    state: async () => (await aggregates.load(workspaceId, "run_1")).state,
    execute: (decide: Decide, call = worker) => aggregates.execute({ call, id: "run_1", decide }),
    /** A person's word on an approval, about the payload that it has now. */
    decide: (approvalId: string, verdict: ApprovalVerdict, comment = "") =>
      onApproval(approvalId, (payloadDigest) =>
        approvals.decide(alice, create(DecideApprovalRequestSchema, { approvalId, verdict, payloadDigest, comment })),
      ),
    edit: (approvalId: string, payload: string) =>
      onApproval(approvalId, (payloadDigest) =>
        approvals.edit(alice, create(EditApprovalRequestSchema, { approvalId, payload: text(payload), payloadDigest })),
      ),
    flip: (on: boolean) => switches.set(alice, create(SetKillSwitchRequestSchema, { on, reason: "a drill" })),
    put: (cedar: string, actions: { type: string; effect: ToolEffect }[] = []) =>
      book.put(alice, create(PolicySchema, { cedar, actions })),
  };
}

/** A server of these tests. */
export type GatedServer = ReturnType<typeof startServer>;

/** A store with a run that is claimed under lease `a`, and a server on it. */
export async function claimedRun(run = newRun()): Promise<{ store: LogStore; server: GatedServer }> {
  const store = createMemoryStore();
  const server = startServer(store);
  await server.execute(created(run), carol);
  await server.execute(claimed("a"));
  return { store, server };
}

/** Everything in the log. */
export async function eventsOf(store: LogStore): Promise<Event[]> {
  return (await store.batch(">", 0n, 10_000)).map((stored) => new EventRecord(stored).event);
}

/** What a worker hears: `go`, or why not. */
export async function answerTo(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return "go";
  } catch (error) {
    if (error instanceof SignalboxError) return error.reason;
    throw error;
  }
}

/** The approval that a refusal names. */
export async function approvalOf(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
  } catch (error) {
    if (error instanceof SignalboxError && error.reason === "APPROVAL_REQUIRED")
      return error.metadata["approval_id"] ?? "";
    throw error;
  }
  throw new Error("nobody was asked");
}

/** The store as a server reaches it that dies at its n-th question, from 1: before the store hears it, or before it hears the answer. */
export function dyingAt(
  store: LogStore,
  n: number,
  when: "before" | "after",
): LogStore & { readonly asked: () => number } {
  let asked = 0;
  const mortal =
    <A extends unknown[], R>(fn: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      asked++;
      if (asked > n || (asked === n && when === "before")) throw new Error("the server is dead");
      const answer = await fn(...args);
      if (asked === n) throw new Error("the server is dead");
      return answer;
    };
  return {
    ...store,
    publish: mortal(store.publish),
    last: mortal(store.last),
    next: mortal(store.next),
    batch: mortal(store.batch),
    asked: () => asked,
  };
}

/** The store as a server reaches it, with something that happens elsewhere just before its n-th question, from 1. */
export function disturbedAt(
  store: LogStore,
  n: number,
  disturb: () => Promise<unknown>,
): LogStore & { readonly asked: () => number } {
  let asked = 0;
  const disturbed =
    <A extends unknown[], R>(fn: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      asked++;
      if (asked === n) await disturb();
      return fn(...args);
    };
  return {
    ...store,
    publish: disturbed(store.publish),
    last: disturbed(store.last),
    next: disturbed(store.next),
    batch: disturbed(store.batch),
    asked: () => asked,
  };
}
