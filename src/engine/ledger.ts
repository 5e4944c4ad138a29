import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type {
  StartStepRequestSchema,
  StartToolCallRequestSchema,
  SuspendRunResponse,
} from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  type RunError,
  type Step,
  StepKind,
  type ToolCall,
  type WakeConditionSchema,
} from "../../gen/signalbox/v1/run_pb.ts";
import type { Ask } from "./ask.ts";
import type { Command, CommandKind } from "./command.ts";
import { type Entry, entryOfStep, entryOfToolCall } from "./entry.ts";
import { heldBack } from "./gate.ts";
import { HandlerError, runErrorOf } from "./handler-error.ts";
import type { Engine } from "./lease.ts";
import type { StepOutputs } from "./step-outputs.ts";
import type { UsageMeter } from "./usage.ts";

/** What the record says of a step beside its command. */
export type StepInit = Pick<
  MessageInitShape<typeof StartStepRequestSchema>,
  "name" | "input" | "delay" | "wakeTime" | "childRunId" | "threadId"
>;

/** What the record says of a tool call beside its command. */
export type ToolCallInit = Pick<
  MessageInitShape<typeof StartToolCallRequestSchema>,
  "stepId" | "tool" | "effect" | "idempotent" | "arguments" | "version" | "reversible" | "target"
>;

/** How something ended. */
export type Ending =
  /** `outputArtifactId` is the artifact that has the output on record, unset when the log has it. */
  | { readonly ok: true; readonly output: Value | undefined; readonly outputArtifactId?: string }
  | { readonly ok: false; readonly error: RunError };

/** A condition of a suspension, as the contract has it. */
export type Condition = MessageInitShape<typeof WakeConditionSchema>;

/**
 * The calls that write the record of a run under a lease, repeated until they get through. What the server refuses is thrown
 * as a HandlerError with the server's reason as its code, not retryable; the lease's reason once that is over.
 */
export interface Ledger {
  startStep(command: Command, init: StepInit): Promise<Entry>;
  /** Also the entry of a call that the gate holds back, or does not allow. */
  startToolCall(command: Command, init: ToolCallInit): Promise<Entry>;
  /** Ends what an entry stands for; an output that is refused becomes a failure. */
  end(entry: Entry, ending: Ending, usage?: UsageMeter): Promise<Entry>;
  /** Records what became of an unknown tool call; a result that is set says that it took effect. */
  reconcile(toolCallId: string, note: string, result: Value | undefined): Promise<Entry>;
  /** The entry with the output that has to be fetched. Records nothing. */
  fetch(entry: Entry): Promise<Entry>;
  suspend(conditions: Condition[]): Promise<SuspendRunResponse>;
  release(reason: string): Promise<void>;
  /** Where the log stood after the last write; 0 before the first. */
  position(): bigint;
  /** The answer of another idempotent call that the run needs. */
  readonly ask: Ask;
}

const stepKinds: Record<Exclude<CommandKind, "tool">, StepKind> = {
  step: StepKind.FUNCTION,
  model: StepKind.MODEL,
  sleep: StepKind.SLEEP,
  run: StepKind.RUN,
  message: StepKind.MESSAGE,
  approval: StepKind.APPROVAL,
  artifact: StepKind.ARTIFACT,
};

/** What a ledger needs. */
export interface LedgerOptions {
  readonly engine: Engine;
  readonly leaseToken: string;
  readonly ask: Ask;
  readonly outputs: Pick<StepOutputs, "load">;
}

/** The ledger of a lease. */
export function createLedger({ engine, leaseToken, ask, outputs }: LedgerOptions): Ledger {
  let position = 0n;

  async function write<T extends { readonly position: bigint }>(
    call: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const answer = await ask(call);
    position = answer.position;
    return answer;
  }

  async function step(call: (options: CallOptions) => Promise<{ step?: Step | undefined; position: bigint }>) {
    return entryOfStep(present((await write(call)).step));
  }

  /** The entry with its output where an artifact has that; `known` is what is known to be in an artifact. */
  async function withOutput(entry: Entry, known?: Ending): Promise<Entry> {
    const { end, step: recorded } = entry;
    const artifactId = recorded?.outputArtifactId ?? "";
    if (artifactId === "" || end?.outcome.ok !== true) return entry;
    const isKnown = known?.ok === true && known.outputArtifactId === artifactId;
    const output = isKnown ? known.output : await outputs.load(artifactId);
    return { ...entry, end: { ...end, outcome: { ok: true, output } }, outputOmitted: false };
  }

  async function toolCall(
    call: (options: CallOptions) => Promise<{ toolCall?: ToolCall | undefined; position: bigint }>,
  ) {
    return entryOfToolCall(present((await write(call)).toolCall));
  }

  const startStep: Ledger["startStep"] = async ({ sequence, kind, key }, init) => {
    const stepKind = kind === "tool" ? StepKind.UNSPECIFIED : stepKinds[kind];
    const request = { leaseToken, sequence, key, kind: stepKind, ...init };
    return withOutput(await step((call) => engine.startStep(request, call)));
  };

  const startToolCall: Ledger["startToolCall"] = async (command, init) => {
    const { sequence, key } = command;
    try {
      return await toolCall((call) => engine.startToolCall({ leaseToken, sequence, key, ...init }, call));
    } catch (error) {
      const entry = heldBack(command, init, error);
      if (entry === undefined) throw error;
      return entry;
    }
  };

  async function endStep(stepId: string, ending: Ending, meter: UsageMeter | undefined): Promise<Entry> {
    const usage = meter?.total();
    if (!ending.ok) return step((call) => engine.failStep({ leaseToken, stepId, error: ending.error, usage }, call));
    const { outputArtifactId = "" } = ending;
    const output = outputArtifactId === "" ? ending.output : undefined;
    const request = { leaseToken, stepId, output, outputArtifactId, usage };
    return withOutput(await step((call) => engine.completeStep(request, call)), ending);
  }

  function endToolCall(toolCallId: string, ending: Ending, meter: UsageMeter | undefined): Promise<Entry> {
    const usage = meter?.total();
    return ending.ok
      ? toolCall((call) => engine.succeedToolCall({ leaseToken, toolCallId, result: ending.output, usage }, call))
      : toolCall((call) => engine.failToolCall({ leaseToken, toolCallId, error: ending.error, usage }, call));
  }

  return {
    startStep,
    startToolCall,
    async end(entry, ending, usage) {
      const end = entry.toolCall === undefined ? endStep : endToolCall;
      try {
        return await end(entry.id, ending, usage);
      } catch (error) {
        if (!ending.ok || !(error instanceof HandlerError)) throw error;
        return end(entry.id, { ok: false, error: runErrorOf(error) }, usage);
      }
    },
    reconcile: (toolCallId, note, result) =>
      toolCall((call) => engine.reconcileToolCall({ leaseToken, toolCallId, note, result }, call)),
    fetch(entry) {
      const { command, step: recordedStep, toolCall: recorded } = entry;
      if (recordedStep !== undefined && recordedStep.outputArtifactId !== "") return withOutput(entry);
      if (recorded === undefined) return startStep(command, {});
      const { stepId, tool, effect, idempotent, version, reversible } = recorded;
      return startToolCall(command, { stepId, tool, effect, idempotent, version, reversible });
    },
    suspend: (conditions) => write((call) => engine.suspendRun({ leaseToken, conditions }, call)),
    async release(reason) {
      await write((call) => engine.releaseRun({ leaseToken, reason }, call));
    },
    position: () => position,
    ask,
  };
}

function present<T>(message: T | undefined): T {
  if (message === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer has no step or tool call");
  return message;
}
