import type { Operation } from "../history.ts";
import type { LogEvent, Violation } from "../invariants.ts";

/** What each writing method may record. */
const effects: Readonly<Record<string, readonly string[]>> = {
  CreateRun: ["run.created"],
  CancelRun: ["run.canceled"],
  PauseRun: ["run.paused", "run.pause_requested"],
  ResumeRun: ["run.resumed"],
  // A paused run goes on, of one that has ended another is made.
  RetryRun: ["run.resumed", "run.created"],
  ForkRun: ["run.created"],
  SendMessage: ["run.message_received"],
  // It looks at several jobs until it has one; on the way it ends runs that are overdue or out of attempts, and pauses
  // those that were to pause when their lease lapsed.
  ClaimRun: ["run.claimed", "run.failed", "run.paused"],
  ReleaseRun: ["run.released", "run.paused"],
  SuspendRun: ["run.suspended", "run.paused"],
  CompleteRun: ["run.succeeded"],
  FailRun: ["run.attempt_failed", "run.failed", "run.paused"],
  StartStep: ["step.started", "step.reused"],
  CompleteStep: ["step.completed"],
  FailStep: ["step.failed"],
  StartToolCall: ["tool_call.started", "tool_call.reused"],
  SucceedToolCall: ["tool_call.succeeded"],
  FailToolCall: ["tool_call.failed"],
  ReconcileToolCall: ["tool_call.reconciled"],
  Expire: ["run.failed", "run.lease_expired", "run.paused"],
};

/** Methods whose answer may say that there was nothing to do. */
const mayDoNothing: ReadonlySet<string> = new Set(["Expire", "ResumeRun", "SuspendRun"]);

/** What a claim does to runs that it does not take. */
const byTheWay: ReadonlySet<string> = new Set(["run.failed", "run.paused"]);

/**
 * I1: what was acknowledged is in the log, recorded once; what was refused is not; what was never answered is there at most
 * once. Every answer's position is that of an event of the run that it is about.
 */
export function checkOperations(log: readonly LogEvent[], operations: readonly Operation[]): Violation[] {
  const written = Map.groupBy(log.filter(isWrittenByCaller), ({ event }) => event.correlationId);
  const streams = Map.groupBy(log, ({ event }) => event.stream?.id ?? "");
  return operations.flatMap((operation) => {
    const own = written.get(operation.id) ?? [];
    const stream = streams.get(operation.run_id ?? "") ?? [];
    const problems = [
      ...wrongWrites(operation, own),
      ...(operation.outcome === "ok" ? falseAnswers(operation, own, stream) : []),
    ];
    return problems.map((problem) => ({ invariant: "I1", at: describe(operation), problem }));
  });
}

/** False for what Signalbox did by itself because of another event; that bears the correlation id of its cause. */
export function isWrittenByCaller({ event }: LogEvent): boolean {
  return event.causationId === "";
}

/** How a violation names an operation. */
export function describe({ id, op, outcome, run_id: runId }: Operation): string {
  return `operation ${id} (${op}${runId === undefined ? "" : ` of ${runId}`}, ${outcome})`;
}

function* wrongWrites({ op, outcome }: Operation, own: readonly LogEvent[]): Generator<string> {
  const allowed = effects[op] ?? [];
  for (const { name, event } of own) if (!allowed.includes(event.type)) yield `recorded ${name}`;
  const mayRecordMore = op === "ClaimRun";
  if (outcome === "fail" && own.length > 0 && !mayRecordMore) yield `was refused, but recorded ${names(own)}`;
  if (own.length > 1 && !mayRecordMore) yield `is recorded more than once: ${names(own)}`;
  const claims = own.filter(({ event }) => event.type === "run.claimed");
  if (claims.length > 1) yield `claimed more than once: ${names(claims)}`;
}

function* falseAnswers(operation: Operation, own: readonly LogEvent[], stream: readonly LogEvent[]): Generator<string> {
  const { op, run_id: runId, position } = operation;
  if (runId === undefined || position === undefined) {
    const claim = own.find(({ event }) => event.type === "run.claimed");
    if (claim !== undefined) yield `answered that there is no run, but recorded ${claim.name}`;
    return;
  }
  const at = BigInt(position);
  if (!stream.some((entry) => entry.position === at)) yield `position ${at} is not that of an event of ${runId}`;
  for (const entry of own) {
    if (byTheWay.has(entry.event.type) && op === "ClaimRun") continue;
    if (entry.event.stream?.id !== runId) yield `recorded ${entry.name}, in another stream`;
  }
  const allowed = op === "ClaimRun" ? ["run.claimed"] : effects[op];
  if (allowed === undefined || mayDoNothing.has(op)) return;
  const candidates = op === "ClaimRun" ? own : stream;
  const isEffect = (entry: LogEvent) =>
    entry.position <= at && allowed.includes(entry.event.type) && concerns(entry, operation);
  if (!candidates.some(isEffect))
    yield `was acknowledged, but there is no ${allowed.join(" or ")} up to position ${at}`;
}

/** False for an event of another step or tool call than the one that the operation names. */
function concerns({ event: { payload } }: LogEvent, { args }: Operation): boolean {
  const value: object = payload.value ?? {};
  if ("key" in value && args["key"] !== undefined) return value.key === args["key"];
  if ("stepId" in value && args["step_id"] !== undefined) return value.stepId === args["step_id"];
  return true;
}

function names(entries: readonly LogEvent[]): string {
  return entries.map(({ name }) => name).join(", ");
}
