import type { LeaseEnd } from "../../../gen/signalbox/v1/run_event_pb.ts";
import { RunEndReason } from "../../../gen/signalbox/v1/run_pb.ts";
import type { LogEvent, Violation } from "../invariants.ts";

/** A run as its events say, folded here once more so that the product's own fold is not trusted. */
interface Run {
  status: "absent" | "queued" | "running" | "ended";
  /** The newest lease, while it holds. */
  leaseId: string | undefined;
  attempt: number;
  readonly steps: Map<string, "running" | "completed" | "open">;
  readonly toolCalls: Map<string, "started" | "done" | "failed" | "unknown">;
}

type Problem = readonly [invariant: "I4" | "I5", problem: string];

/**
 * I4: a run ends exactly once, by legal transitions only, and nothing follows. I5, fencing: what a worker wrote carries the
 * newest lease before it.
 */
export function checkRuns(log: readonly LogEvent[]): Violation[] {
  const runs = new Map<string, Run>();
  return log
    .filter(({ event }) => event.stream?.type === "run")
    .flatMap((entry) => {
      const run = runs.get(entry.stream) ?? newRun();
      runs.set(entry.stream, run);
      const problems = [...transition(run, entry)];
      return problems.map(([invariant, problem]) => ({ invariant, at: entry.name, problem }));
    });
}

function newRun(): Run {
  return { status: "absent", leaseId: undefined, attempt: 0, steps: new Map(), toolCalls: new Map() };
}

/** Applies the event to the run and says what is wrong with it. */
function* transition(run: Run, { event: { payload } }: LogEvent): Generator<Problem> {
  switch (payload.case) {
    case "runCreated":
      yield* from(run, "absent");
      run.status = "queued";
      break;
    case "runClaimed": {
      const { attempt, leaseId, lost } = payload.value;
      yield* from(run, "queued", "running");
      if (attempt !== run.attempt + 1) yield ["I4", `is attempt ${attempt} after ${run.attempt}`];
      yield* endLease(run, lost);
      Object.assign(run, { status: "running", leaseId, attempt });
      break;
    }
    case "runReleased":
    case "runAttemptFailed":
    case "runLeaseExpired":
      yield* from(run, "running");
      yield* endLease(run, payload.value.lease);
      run.status = "queued";
      break;
    case "runSucceeded":
      yield* from(run, "running");
      yield* endLease(run, payload.value.lease);
      run.status = "ended";
      break;
    case "runFailed":
      if (payload.value.endReason === RunEndReason.DEADLINE_EXCEEDED) yield* from(run, "queued", "running");
      else yield* from(run, "running");
      yield* endLease(run, payload.value.lease);
      run.status = "ended";
      break;
    case "runCanceled":
      yield* from(run, "queued", "running");
      yield* endLease(run, payload.value.lease);
      run.status = "ended";
      break;
    default:
      yield* from(run, "running");
      yield* work(run, payload);
  }
}

function* from({ status }: Run, ...allowed: Run["status"][]): Generator<Problem> {
  if (!allowed.includes(status)) yield ["I4", `the run is ${status}, not ${allowed.join(" or ")}`];
}

/** A lease ends with everything under it: what was under way is named, nothing else is. */
function* endLease(run: Run, end: LeaseEnd | undefined): Generator<Problem> {
  if (end?.leaseId !== run.leaseId) yield ["I5", `ends lease ${end?.leaseId}, but the newest is ${run.leaseId}`];
  run.leaseId = undefined;
  const running = keysOf(run.steps, "running");
  const abandoned = end?.abandonedStepIds ?? [];
  if (!sameItems(running, abandoned)) yield ["I4", `abandons steps ${abandoned.join()}, but ${running.join()} were running`];
  for (const id of running) run.steps.set(id, "open");
  const started = keysOf(run.toolCalls, "started");
  const [failed, unknown] = [end?.failedToolCallIds ?? [], end?.unknownToolCallIds ?? []];
  if (!sameItems(started, [...failed, ...unknown])) yield ["I4", `leaves other tool calls than ${started.join()}`];
  for (const id of failed) run.toolCalls.set(id, "failed");
  for (const id of unknown) run.toolCalls.set(id, "unknown");
}

/** What a worker records inside a run. */
function* work(run: Run, payload: LogEvent["event"]["payload"]): Generator<Problem> {
  const value: object = payload.value ?? {};
  const leaseId = "leaseId" in value ? value.leaseId : undefined;
  if (leaseId === undefined || leaseId !== run.leaseId) {
    yield ["I5", `carries lease ${String(leaseId)}, but the newest is ${run.leaseId}`];
  }
  switch (payload.case) {
    case "stepStarted":
      yield* move(run.steps, payload.value.stepId, [undefined, "open"], "running");
      break;
    case "stepCompleted":
      yield* move(run.steps, payload.value.stepId, ["running"], "completed");
      break;
    case "stepFailed":
      yield* move(run.steps, payload.value.stepId, ["running"], "open");
      break;
    case "toolCallStarted":
      yield* move(run.toolCalls, payload.value.toolCallId, [undefined, "failed"], "started");
      break;
    case "toolCallSucceeded":
      yield* move(run.toolCalls, payload.value.toolCallId, ["started"], "done");
      break;
    case "toolCallFailed":
      yield* move(run.toolCalls, payload.value.toolCallId, ["started"], "failed");
      break;
    case "toolCallReconciled": {
      const { toolCallId, result } = payload.value;
      yield* move(run.toolCalls, toolCallId, ["unknown"], result === undefined ? "failed" : "done");
      break;
    }
    default:
      yield ["I4", "does not belong into the stream of a run"];
  }
}

function* move<S extends string>(states: Map<string, S>, id: string, allowed: (S | undefined)[], to: S): Generator<Problem> {
  const state = states.get(id);
  if (!allowed.includes(state)) yield ["I4", `${id} is ${state ?? "absent"}, not ${allowed.map((it) => it ?? "absent").join(" or ")}`];
  states.set(id, to);
}

function keysOf<S>(states: ReadonlyMap<string, S>, wanted: S): string[] {
  return [...states].filter(([, state]) => state === wanted).map(([id]) => id);
}

function sameItems(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set(a).isSubsetOf(new Set(b));
}
