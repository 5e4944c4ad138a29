import type { LeaseEnd, RunArtifactAdded, StepStarted } from "../../../gen/signalbox/v1/run_event_pb.ts";
import { RunEndReason, StepKind, type WakeCondition } from "../../../gen/signalbox/v1/run_pb.ts";
import type { LogEvent, Violation } from "../invariants.ts";

type Status = "absent" | "queued" | "running" | "waiting" | "paused" | "ended";
type StepStatus = "running" | "completed" | "open";
type ToolCallStatus = "gated" | "started" | "done" | "failed" | "unknown";

/** A run as its events say, folded here once more so that the product's own fold is not trusted. */
export interface Run {
  status: Status;
  /** The newest lease, while it holds. */
  leaseId: string | undefined;
  attempt: number;
  readonly steps: Map<string, StepStatus>;
  /** The steps that were started before their child was created: they start once more, with the child. */
  readonly childless: Set<string>;
  readonly toolCalls: Map<string, ToolCallStatus>;
  /** True while it is running and somebody has asked it to pause. */
  pauseRequested: boolean;
  /** What it waits for, while it does. */
  conditions: readonly WakeCondition[];
  readonly endedChildren: Set<string>;
  /** The approvals whose end it was told. */
  readonly endedApprovals: Set<string>;
  /** The number of messages that came from each thread. */
  readonly messages: Map<string, number>;
  readonly artifacts: Set<string>;
}

type Problem = readonly [invariant: "I4" | "I5", problem: string];
type Payload = LogEvent["event"]["payload"];
type Case = NonNullable<Payload["case"]>;
type Moves<S, To = S> = Readonly<Partial<Record<Case, { readonly from: readonly S[]; readonly to: To }>>>;

/** The life of a run. */
const open = ["queued", "running", "waiting", "paused"] as const;

const life = {
  runCreated: { from: ["absent"], to: "queued" },
  runClaimed: { from: ["queued", "running"], to: "running" },
  runReleased: { from: ["running"], to: "queued" },
  runAttemptFailed: { from: ["running"], to: "queued" },
  runLeaseExpired: { from: ["running"], to: "queued" },
  runSucceeded: { from: ["running"], to: "ended" },
  runFailed: { from: open, to: "ended" },
  runCanceled: { from: open, to: "ended" },
  runSuspended: { from: ["running"], to: "waiting" },
  runPaused: { from: ["queued", "running", "waiting"], to: "paused" },
} as const satisfies Moves<Status>;

function isLife(payload: Payload): payload is Extract<Payload, { case: keyof typeof life }> {
  return payload.case !== undefined && Object.hasOwn(life, payload.case);
}

/** What happens to a run without a lease coming or going. */
const happenings = {
  runWoken: ["waiting"],
  runChildEnded: open,
  runApprovalDecided: open,
  runMessageReceived: open,
  runPauseRequested: ["running"],
  runResumed: open,
} as const satisfies Partial<Record<Case, readonly Status[]>>;

type Happening = Extract<Payload, { case: keyof typeof happenings }>;

function isHappening(payload: Payload): payload is Happening {
  return payload.case !== undefined && Object.hasOwn(happenings, payload.case);
}

/** What gives a run back to its queue, or starts something: not to be done by one that is to pause. */
const notWhenPausing: ReadonlySet<Case> = new Set<Case>([
  "runReleased",
  "runAttemptFailed",
  "runLeaseExpired",
  "runSuspended",
  "runClaimed",
  "stepStarted",
  "stepReused",
  "toolCallStarted",
  "toolCallReused",
]);

/** The life of a step. */
const stepLife: Moves<StepStatus | undefined, StepStatus> = {
  stepStarted: { from: [undefined, "open"], to: "running" },
  stepCompleted: { from: ["running"], to: "completed" },
  stepFailed: { from: ["running"], to: "open" },
  stepReused: { from: [undefined], to: "completed" },
};

/**
 * The life of a tool call. One that is found to have had no effect may be made again; a start that a kill switch came before
 * is taken back.
 */
const toolCallLife: Moves<ToolCallStatus | undefined, ToolCallStatus> = {
  toolCallGated: { from: [undefined, "gated", "failed", "started"], to: "gated" },
  toolCallDenied: { from: [undefined, "gated", "failed"], to: "done" },
  toolCallStarted: { from: [undefined, "gated", "failed"], to: "started" },
  toolCallSucceeded: { from: ["started"], to: "done" },
  toolCallFailed: { from: ["started"], to: "failed" },
  toolCallReconciled: { from: ["unknown"], to: "done" },
  toolCallReused: { from: [undefined], to: "done" },
};

/**
 * I4: a run ends exactly once, by legal transitions only, and nothing follows. I5, fencing: what a worker wrote carries the
 * newest lease before it.
 */
export function checkRuns(log: readonly LogEvent[]): Violation[] {
  return foldRuns(log).violations;
}

/** Every run as it is after the last event, by its stream, and what was wrong on the way. */
export function foldRuns(log: readonly LogEvent[]): { runs: ReadonlyMap<string, Run>; violations: Violation[] } {
  const runs = new Map<string, Run>();
  const violations = log
    .filter(({ event }) => event.stream?.type === "run")
    .flatMap((entry) => {
      const run = runs.get(entry.stream) ?? newRun();
      runs.set(entry.stream, run);
      const problems = [...transition(run, entry)];
      return problems.map(([invariant, problem]) => ({ invariant, at: entry.name, problem }));
    });
  return { runs, violations };
}

function newRun(): Run {
  return {
    status: "absent",
    leaseId: undefined,
    attempt: 0,
    steps: new Map(),
    childless: new Set(),
    toolCalls: new Map(),
    pauseRequested: false,
    conditions: [],
    endedChildren: new Set(),
    endedApprovals: new Set(),
    messages: new Map(),
    artifacts: new Set(),
  };
}

/** Applies the event to the run and says what is wrong with it. */
function* transition(run: Run, { event: { payload } }: LogEvent): Generator<Problem, void> {
  if (run.pauseRequested && payload.case && notWhenPausing.has(payload.case))
    yield ["I4", "the run was asked to pause"];
  if (isHappening(payload)) return yield* happen(run, payload);
  if (payload.case === "runArtifactAdded") return yield* addArtifact(run, payload.value);
  if (!isLife(payload)) return yield* work(run, payload);
  const { from, to } = life[payload.case];
  // Nobody but a worker can fail a run, unless its time is over.
  const needsWorker = payload.case === "runFailed" && payload.value.endReason !== RunEndReason.DEADLINE_EXCEEDED;
  const allowed: readonly Status[] = needsWorker ? ["running"] : from;
  if (!allowed.includes(run.status)) yield ["I4", `the run is ${run.status}, not ${allowed.join(" or ")}`];
  if (payload.case !== "runCreated") yield* endLease(run, endOf(payload.value));
  run.status = to;
  run.pauseRequested = false;
  run.conditions = payload.case === "runSuspended" ? payload.value.conditions : [];
  if (run.conditions.some((each) => holds(run, each))) yield ["I4", "waits for what has happened already"];
  if (payload.case !== "runClaimed") return;
  const { attempt, leaseId } = payload.value;
  if (attempt !== run.attempt + 1) yield ["I4", `is attempt ${attempt} after ${run.attempt}`];
  run.attempt = attempt;
  run.leaseId = leaseId;
}

/** Applies what happens beside the leases; the first condition that holds ends a wait. */
function* happen(run: Run, payload: Happening): Generator<Problem, void> {
  const allowed: readonly Status[] = happenings[payload.case];
  if (!allowed.includes(run.status)) yield ["I4", `the run is ${run.status}, not ${allowed.join(" or ")}`];
  let isOver = payload.case === "runWoken" || (payload.case === "runResumed" && run.status === "paused");
  if (payload.case === "runWoken" && !run.conditions.some(({ condition }) => condition.case === "time")) {
    yield ["I4", "wakes a run that waits for no time"];
  }
  if (payload.case === "runPauseRequested") run.pauseRequested = true;
  if (payload.case === "runResumed") run.pauseRequested = false;
  if (payload.case === "runChildEnded") run.endedChildren.add(payload.value.childRunId);
  if (payload.case === "runApprovalDecided") run.endedApprovals.add(payload.value.approvalId);
  if (payload.case === "runMessageReceived") {
    const { threadId, number } = payload.value;
    const before = run.messages.get(threadId) ?? 0;
    if (number !== before + 1) yield ["I4", `is message ${number} of its thread after ${before}`];
    run.messages.set(threadId, number);
  }
  isOver ||= run.conditions.some((each) => holds(run, each));
  if (!isOver) return;
  run.status = "queued";
  run.conditions = [];
}

/** The worker adds artifacts under its lease, others do without one as long as the run is open. */
function* addArtifact(run: Run, { artifactId, leaseId }: RunArtifactAdded): Generator<Problem, void> {
  const allowed: readonly Status[] = leaseId === "" ? open : ["running"];
  if (!allowed.includes(run.status)) yield ["I4", `the run is ${run.status}, not ${allowed.join(" or ")}`];
  if (leaseId !== "" && leaseId !== run.leaseId) {
    yield ["I5", `carries lease ${leaseId}, but the newest is ${run.leaseId}`];
  }
  if (run.artifacts.has(artifactId)) yield ["I4", `${artifactId} was added before`];
  run.artifacts.add(artifactId);
}

/** True when what a condition waits for has happened; nobody can say so of a time. */
function holds({ endedChildren, endedApprovals, messages }: Run, { condition }: WakeCondition): boolean {
  if (condition.case === "children") return condition.value.runIds.every((id) => endedChildren.has(id));
  if (condition.case === "approval") return endedApprovals.has(condition.value.approvalId);
  return condition.case === "message" && (messages.get(condition.value.threadId) ?? 0) > condition.value.afterNumber;
}

/** The lease that an event in the life of a run says to end. */
function endOf(value: { readonly lost?: LeaseEnd } | { readonly lease?: LeaseEnd }): LeaseEnd | undefined {
  if ("lost" in value) return value.lost;
  return "lease" in value ? value.lease : undefined;
}

/** A lease ends with everything under it: what was under way is named, nothing else is. */
function* endLease(run: Run, end: LeaseEnd | undefined): Generator<Problem, void> {
  if (end?.leaseId !== run.leaseId) yield ["I5", `ends lease ${end?.leaseId}, but the newest is ${run.leaseId}`];
  run.leaseId = undefined;
  const running = keysOf(run.steps, "running");
  const abandoned = end?.abandonedStepIds ?? [];
  if (!sameItems(running, abandoned)) {
    yield ["I4", `abandons steps ${abandoned.join()}, but ${running.join()} were running`];
  }
  for (const id of running) run.steps.set(id, "open");
  const started = keysOf(run.toolCalls, "started");
  const [failed, unknown] = [end?.failedToolCallIds ?? [], end?.unknownToolCallIds ?? []];
  if (!sameItems(started, [...failed, ...unknown])) yield ["I4", `leaves other tool calls than ${started.join()}`];
  for (const id of failed) run.toolCalls.set(id, "failed");
  for (const id of unknown) run.toolCalls.set(id, "unknown");
}

/** What a worker records inside a run. */
function* work(run: Run, payload: Payload): Generator<Problem, void> {
  const value: object = payload.value ?? {};
  const leaseId = "leaseId" in value ? value.leaseId : undefined;
  // People may find out what became of a call, whoever has the run.
  const byPeople = payload.case === "toolCallReconciled" && leaseId === "";
  if (!byPeople && run.status !== "running") yield ["I4", `the run is ${run.status}, not running`];
  if (!byPeople && (leaseId === undefined || leaseId !== run.leaseId)) {
    yield ["I5", `carries lease ${String(leaseId)}, but the newest is ${run.leaseId}`];
  }
  if ("toolCallId" in value) {
    yield* move(run.toolCalls, String(value.toolCallId), payload, toolCallLife);
    const hadNoEffect = payload.case === "toolCallReconciled" && payload.value.result === undefined;
    if (hadNoEffect) run.toolCalls.set(payload.value.toolCallId, "failed");
  } else if ("stepId" in value) {
    if (payload.case === "stepStarted") noteChild(run, payload.value);
    yield* move(run.steps, String(value.stepId), payload, stepLife);
  } else {
    yield ["I4", "does not belong into the stream of a run"];
  }
}

function noteChild({ steps, childless }: Run, { stepId, kind, childRunId }: StepStarted): void {
  if (kind === StepKind.RUN && childRunId === "") childless.add(stepId);
  else if (childless.delete(stepId) && steps.get(stepId) === "running") steps.set(stepId, "open");
}

function* move<S extends string>(
  states: Map<string, S>,
  id: string,
  payload: Payload,
  moves: Moves<S | undefined, S>,
): Generator<Problem, void> {
  const found = payload.case && moves[payload.case];
  if (!found) {
    yield ["I4", "does not belong into the stream of a run"];
    return;
  }
  const state = states.get(id);
  const allowed = found.from.map((from) => from ?? "absent").join(" or ");
  if (!found.from.includes(state)) yield ["I4", `${id} is ${state ?? "absent"}, not ${allowed}`];
  states.set(id, found.to);
}

function keysOf<S>(states: ReadonlyMap<string, S>, wanted: S): string[] {
  return [...states].filter(([, state]) => state === wanted).map(([id]) => id);
}

function sameItems(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set(a).isSubsetOf(new Set(b));
}
