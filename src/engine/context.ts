import { StepStatus, type ToolCall, ToolCallStatus, ToolCallStatusSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { valueToJson } from "../client/json.ts";
import type { HandlerContext, StepOptions, StepScope, ToolOptions, ToolOutcome, ToolScope } from "./handler.ts";
import { HandlerError, ToolOutcomeUnknownError } from "./handler-error.ts";
import type { Claim, Engine, Lease } from "./lease.ts";
import type { WorkerLog } from "./log.ts";
import { type Ending, optionalValue, record, recordEnd } from "./records.ts";
import { createUsageMeter } from "./usage.ts";

/** The context of one attempt; everything it records goes through the lease. */
export function createContext(engine: Engine, claim: Claim, lease: Lease, log: WorkerLog): HandlerContext {
  const { run, leaseToken, unknownToolCalls } = claim;
  const recordedSteps = new Map(claim.recordedSteps.map((earlier) => [earlier.key, earlier]));
  const unknownCalls = new Map(unknownToolCalls.map((call) => [call.key, call]));
  const openSteps = new Map<string, Promise<unknown>>();
  const openCalls = new Map<string, Promise<unknown>>();

  async function step<T>(key: string, fn: (scope: StepScope) => T | Promise<T>, options: StepOptions): Promise<T> {
    lease.signal.throwIfAborted();
    const earlier = recordedSteps.get(key);
    if (earlier !== undefined) return valueToJson(earlier.output) as T;
    const input = optionalValue(options.input, `the input of step ${key}`, "INPUT_NOT_SERIALIZABLE");
    const request = { leaseToken, key, name: options.name ?? "", input };
    const { step: started } = await record(lease, (call) => engine.startStep(request, call));
    const { stepId, status, output } = present(started, "StartStep");
    if (status === StepStatus.COMPLETED) return valueToJson(output) as T;
    const usage = createUsageMeter();
    const ending: Ending = {
      succeed: (value, call) => engine.completeStep({ leaseToken, stepId, output: value, usage: usage.total() }, call),
      fail: (error, call) => engine.failStep({ leaseToken, stepId, error, usage: usage.total() }, call),
    };
    return recordEnd(lease, log, `the output of step ${key}`, ending, () => fn({ stepId, addUsage: usage.add }));
  }

  async function tool<T>(key: string, options: ToolOptions, fn: (scope: ToolScope) => T | Promise<T>): Promise<T> {
    lease.signal.throwIfAborted();
    const unknown = unknownCalls.get(key);
    if (unknown !== undefined) throw outcomeUnknown(unknown);
    const { args, stepId = "", tool: name, effect, idempotent = false } = options;
    const given = optionalValue(args, `the arguments of tool call ${key}`, "INPUT_NOT_SERIALIZABLE");
    const request = { leaseToken, key, stepId, tool: name, effect, idempotent, arguments: given };
    const answer = await record(lease, (call) => engine.startToolCall(request, call));
    const started = present(answer.toolCall, "StartToolCall");
    const { toolCallId } = started;
    if (isEnded(started)) return valueToJson(started.result) as T;
    const usage = createUsageMeter();
    const ending: Ending = {
      succeed: (value, call) =>
        engine.succeedToolCall({ leaseToken, toolCallId, result: value, usage: usage.total() }, call),
      fail: (error, call) => engine.failToolCall({ leaseToken, toolCallId, error, usage: usage.total() }, call),
    };
    return recordEnd(lease, log, `the result of tool call ${key}`, ending, () =>
      fn({ toolCallId, addUsage: usage.add }),
    );
  }

  async function reconcile(key: string, outcome: ToolOutcome): Promise<void> {
    const unknown = unknownCalls.get(key);
    if (unknown === undefined) {
      const message = `no tool call ${key} of this run waits to be reconciled; see ctx.unknownToolCalls`;
      throw new HandlerError("TOOL_CALL_NOT_FOUND", message, { retryable: false });
    }
    // A result that is set, null at least, is what says that the call took effect.
    const found = outcome.tookEffect ? (outcome.result ?? null) : undefined;
    const result = optionalValue(found, `the result of tool call ${key}`, "OUTPUT_NOT_SERIALIZABLE");
    const request = { leaseToken, toolCallId: unknown.toolCallId, result, note: outcome.note };
    await record(lease, (call) => engine.reconcileToolCall(request, call));
    unknownCalls.delete(key);
  }

  return {
    run,
    attempt: run.attempt,
    signal: lease.signal,
    unknownToolCalls,
    log,
    step: (key, fn, options = {}) => shared(openSteps, key, () => step(key, fn, options)),
    tool: (key, options, fn) => shared(openCalls, key, () => tool(key, options, fn)),
    reconcile,
  };
}

/** One promise for everyone who asks for a key while it is open: what is done once is not done twice side by side. */
function shared<T>(open: Map<string, Promise<unknown>>, key: string, fn: () => Promise<T>): Promise<T> {
  const earlier = open.get(key);
  if (earlier !== undefined) return earlier as Promise<T>;
  const promise = fn().finally(() => open.delete(key));
  open.set(key, promise);
  return promise;
}

/** True when the result is on record, false when the call is to be made now. Throws when neither is so. */
function isEnded(call: ToolCall): boolean {
  const { key, status } = call;
  if (status === ToolCallStatus.STARTED) return false;
  if (status === ToolCallStatus.SUCCEEDED || status === ToolCallStatus.RECONCILED) return true;
  if (status === ToolCallStatus.UNKNOWN) throw outcomeUnknown(call);
  const name = ToolCallStatusSchema.value[status]?.localName ?? String(status);
  throw new HandlerError("TOOL_CALL_NOT_STARTED", `tool call ${key} is ${name}; it may not be made now`);
}

function outcomeUnknown(call: ToolCall): ToolOutcomeUnknownError {
  const { key, tool } = call;
  const message = `an earlier attempt called ${tool} (tool call ${key}) and its outcome is unknown; find out what happened and call ctx.reconcile("${key}", …)`;
  return new ToolOutcomeUnknownError(message, call);
}

function present<T>(message: T | undefined, method: string): T {
  if (message === undefined) throw new HandlerError("BAD_ANSWER", `the server's answer to ${method} is empty`);
  return message;
}
