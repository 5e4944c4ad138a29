import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { type JsonValue, valueToJson } from "../client/json.ts";
import type { Activity } from "./activity.ts";
import type { Command } from "./command.ts";
import type { Commands } from "./commands.ts";
import { type End, endOf, type Entry } from "./entry.ts";
import type { ChildRun } from "./handler.ts";
import { ChildRunError, failureOf, HandlerError, runErrorOf } from "./handler-error.ts";
import type { Journal } from "./journal.ts";
import type { Ending, Ledger } from "./ledger.ts";
import { requestIdOf } from "./request-id.ts";
import { createSlots } from "./slots.ts";
import type { StepOutputs } from "./step-outputs.ts";
import { optionalValue } from "./values.ts";
import type { Waits } from "./waits.ts";

/** Runs other runs. */
export interface Children {
  run(child: ChildRun): Promise<JsonValue | undefined>;
  runAll(children: readonly ChildRun[]): Promise<(JsonValue | undefined)[]>;
}

/** What child runs need. */
export interface ChildrenOptions {
  readonly run: Run;
  readonly runs: SignalboxClient["runs"];
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly waits: Waits;
  readonly outputs: StepOutputs;
  readonly signal: AbortSignal;
}

/** Calls to create or look at children at the same time. */
const maxCalls = 16;
// The server has room for 1,000 steps under way; other children are created, and waited for when these have ended.
const maxAwaited = 500;

const terminal: ReadonlySet<RunStatus> = new Set([RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED]);

/** Child runs of one attempt. */
export function createChildren(options: ChildrenOptions): Children {
  const { run: parent, runs, commands, ledger, journal, activity, waits, outputs, signal } = options;
  const calls = createSlots(maxCalls);
  const awaited = createSlots(maxAwaited);

  async function calling<T>(fn: () => Promise<T>): Promise<T> {
    if (!(await calls.take(signal))) throw signal.reason;
    try {
      return await fn();
    } finally {
      calls.free();
    }
  }

  function create(command: Command, child: ChildRun): Promise<Run> {
    const { name: _name, input, maxDurationMs, ...rest } = child;
    const request = {
      roomId: parent.roomId,
      ...rest,
      labels: { ...child.labels },
      input: optionalValue(input, `the input of child run ${command.key}`, "INPUT_NOT_SERIALIZABLE"),
      maxDuration: maxDurationMs === undefined ? undefined : durationFromMs(maxDurationMs),
      parentRunId: parent.runId,
      requestId: requestIdOf(parent, command),
    };
    return calling(async () => present((await ledger.ask((call) => runs.createRun(request, call))).run));
  }

  function look(runId: string): Promise<Run> {
    return calling(async () => present((await ledger.ask((call) => runs.getRun({ runId }, call))).run));
  }

  /** The child once it has ended. `seen` is how it was last seen. */
  async function ended(sequence: number, seen: Run, group: object): Promise<Run> {
    let child = seen;
    while (!terminal.has(child.status)) {
      await waits.until(sequence, { childRunId: child.runId, group });
      child = await activity.during(() => look(seen.runId));
    }
    return child;
  }

  /** Records that the server does not create the child, so that a replay takes the same way. */
  async function refuse(command: Command, error: unknown): Promise<never> {
    if (!(error instanceof HandlerError)) throw error;
    const started = await journal.start(() => ledger.startStep(command, {}));
    await journal.end(() => ledger.end(started, { ok: false, error: runErrorOf(error) }));
    throw error;
  }

  async function awaitEnd(command: Command, child: Run, group: object): Promise<JsonValue | undefined> {
    const started = await journal.start(() => ledger.startStep(command, { childRunId: child.runId }));
    if (started.end?.outcome.ok) return childResult(started.end, started);
    const end = await ended(command.sequence, child, group);
    const ending = await activity.during(() => outputs.keep(started, endingOf(end)));
    const entry = await journal.end(() => ledger.end(started, ending));
    return childResult(endOf(entry), entry);
  }

  async function perform(command: Command, child: ChildRun, group: object): Promise<JsonValue | undefined> {
    await journal.admit();
    if (parent.baseRunId !== "") {
      // A retried run may have the child's result on its base run's record: what was done is not done once more.
      const begun = await journal.start(() => ledger.startStep(command, {}));
      if (begun.end?.outcome.ok) return childResult(begun.end, begun);
    }
    const created = await activity
      .during(() => create(command, child))
      .catch((error: unknown) => refuse(command, error));
    if (!(await awaited.take(signal))) throw signal.reason;
    try {
      return await awaitEnd(command, created, group);
    } finally {
      awaited.free();
    }
  }

  function start(child: ChildRun, group: object): Promise<JsonValue | undefined> {
    return commands.perform<JsonValue | undefined>({
      kind: "run",
      name: child.name ?? (child.handler || child.agentId || "run"),
      live: (command) => perform(command, child, group),
      replayed: childResult,
    });
  }

  return {
    run: (child) => start(child, {}),
    async runAll(children) {
      const group = {};
      const results = await Promise.allSettled(children.map((child) => start(child, group)));
      return results.map((result) => {
        if (result.status === "rejected") throw result.reason;
        return result.value;
      });
    },
  };
}

function endingOf({ runId, status, output, error }: Run): Ending {
  if (status === RunStatus.SUCCEEDED) return { ok: true, output };
  const canceled = status === RunStatus.CANCELED;
  const code = canceled ? "CHILD_RUN_CANCELED" : error?.code || "CHILD_RUN_FAILED";
  const message = canceled ? `child run ${runId} was canceled` : `child run ${runId} failed: ${error?.message ?? ""}`;
  return { ok: false, error: runErrorOf(new HandlerError(code, message, { retryable: false })) };
}

function childResult({ outcome }: End, { step }: Entry): JsonValue | undefined {
  if (outcome.ok) return valueToJson(outcome.output);
  const childRunId = step?.childRunId ?? "";
  // One that the server did not create has no id.
  throw childRunId === ""
    ? failureOf(outcome.error)
    : new ChildRunError(childRunId, outcome.error.code, outcome.error.message);
}

function present(run: Run | undefined): Run {
  if (run === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer has no run");
  return run;
}
