import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createRouterTransport, type Interceptor } from "@connectrpc/connect";
import { createSignalboxClient, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { type ClaimRunResponseSchema, EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import {
  type Run,
  RunSchema,
  RunStatus,
  type Step,
  StepSchema,
  StepStatus,
  type ToolCall,
  ToolCallSchema,
  ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import { type Reason, SignalboxError, toConnectError } from "../../src/kernel/errors.ts";
import { until } from "../support/until.ts";

type Method = keyof typeof EngineService.method;

/** One call that reached the fake. */
export interface FakeCall {
  readonly method: Method;
  readonly request: unknown;
}

/** A run of the fake, with everything that was recorded for it. */
export interface FakeRun {
  run: Run;
  leaseToken: string;
  readonly steps: Map<string, Step>;
  readonly toolCalls: Map<string, ToolCall>;
}

/** An EngineService in memory: claims, leases, steps and tool calls as the contract has them, and faults on demand. */
export interface FakeEngine {
  readonly client: SignalboxClient;
  readonly calls: FakeCall[];
  readonly runs: FakeRun[];
  /** Looks at every call before and after it is served; what it throws is the answer. */
  fault: (call: FakeCall, when: "before" | "after") => void | Promise<void>;
  submit(run: MessageInitShape<typeof RunSchema>): FakeRun;
  /** The calls of one method so far. */
  callsOf(method: Method): FakeCall[];
  /** Waits until the run has ended, and returns it with its output in JSON. */
  ended(run: FakeRun): Promise<{ status: string; output: unknown; error: unknown }>;
  /** Gives the run to another worker. */
  takeOver(run: FakeRun): void;
  cancel(run: FakeRun): void;
}

const terminal: RunStatus[] = [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED];

/** Creates one. Leases hold 30 s unless told otherwise. */
export function fakeEngine(leaseTtlMs = 30_000): FakeEngine {
  const runs: FakeRun[] = [];
  const calls: FakeCall[] = [];
  let count = 0;

  function held(leaseToken: string): FakeRun {
    const found = runs.find((run) => run.leaseToken === leaseToken && run.run.status === RunStatus.RUNNING);
    if (found === undefined) throw refusal("LEASE_LOST", "this lease is over");
    return found;
  }

  function end(found: FakeRun, change: Partial<Run>): { run: Run } {
    for (const step of found.steps.values()) {
      if (step.status === StepStatus.RUNNING) step.status = StepStatus.ABANDONED;
    }
    for (const call of found.toolCalls.values()) {
      if (call.status !== ToolCallStatus.STARTED) continue;
      call.status = call.idempotent ? ToolCallStatus.FAILED : ToolCallStatus.UNKNOWN;
    }
    found.run = { ...found.run, ...change };
    return { run: found.run };
  }

  function claim(found: FakeRun): MessageInitShape<typeof ClaimRunResponseSchema> {
    found.run = { ...found.run, status: RunStatus.RUNNING, attempt: found.run.attempt + 1 };
    found.leaseToken = `lease-${++count}`;
    return {
      run: found.run,
      leaseToken: found.leaseToken,
      leaseTtl: durationFromMs(leaseTtlMs),
      leaseExpireTime: timestampFromMs(Date.now() + leaseTtlMs),
      recordedSteps: [...found.steps.values()].filter(({ status }) => status === StepStatus.COMPLETED),
      unknownToolCalls: [...found.toolCalls.values()].filter(({ status }) => status === ToolCallStatus.UNKNOWN),
    };
  }

  const faults: Interceptor = (next) => async (request) => {
    const call = { method: request.method.localName as Method, request: request.message };
    calls.push(call);
    await engine.fault(call, "before");
    const response = await next(request);
    await engine.fault(call, "after");
    return response;
  };

  const transport = createRouterTransport(
    (router) =>
      router.service(EngineService, {
        async claimRun({ handlers, queues }, { signal }) {
          for (;;) {
            const found = runs.find(
              ({ run }) =>
                run.status === RunStatus.QUEUED && handlers.includes(run.handler) && queues.includes(run.queue),
            );
            if (found !== undefined) return claim(found);
            await turn();
            signal.throwIfAborted();
          }
        },
        heartbeat({ leaseToken }) {
          const canceled = runs.some((run) => run.leaseToken === leaseToken && run.run.status === RunStatus.CANCELED);
          if (!canceled) held(leaseToken);
          return { cancelRequested: canceled };
        },
        releaseRun: ({ leaseToken }) => end(held(leaseToken), { status: RunStatus.QUEUED }),
        completeRun: ({ leaseToken, output }) => end(held(leaseToken), { status: RunStatus.SUCCEEDED, output }),
        failRun({ leaseToken, error }) {
          const found = held(leaseToken);
          const failedAttempts = found.run.failedAttempts + 1;
          const again = error?.retryable === true && failedAttempts < (found.run.retryPolicy?.maxAttempts ?? 3);
          return end(found, { status: again ? RunStatus.QUEUED : RunStatus.FAILED, failedAttempts, error });
        },
        startStep({ leaseToken, key, name, input }) {
          const { steps } = held(leaseToken);
          const earlier = steps.get(key);
          if (earlier?.status === StepStatus.COMPLETED || earlier?.status === StepStatus.RUNNING)
            return { step: earlier };
          const init = { stepId: `step_${key}`, key, name, input, attempt: (earlier?.attempt ?? 0) + 1 };
          steps.set(key, create(StepSchema, { ...init, status: StepStatus.RUNNING }));
          return { step: steps.get(key) };
        },
        completeStep({ leaseToken, stepId, output, usage }) {
          const step = byId(held(leaseToken).steps, (item) => item.stepId === stepId);
          return { step: Object.assign(step, { status: StepStatus.COMPLETED, output, usage }) };
        },
        failStep({ leaseToken, stepId, error, usage }) {
          const step = byId(held(leaseToken).steps, (item) => item.stepId === stepId);
          return { step: Object.assign(step, { status: StepStatus.FAILED, error, usage }) };
        },
        startToolCall({ leaseToken, ...request }) {
          const { toolCalls } = held(leaseToken);
          const { key, tool, effect, idempotent, stepId } = request;
          const earlier = toolCalls.get(key);
          const hadNoEffect = earlier?.status === ToolCallStatus.RECONCILED && earlier.result === undefined;
          if (earlier && earlier.status !== ToolCallStatus.FAILED && !hadNoEffect) return { toolCall: earlier };
          const init = { toolCallId: `tc_${key}`, key, tool, effect, idempotent, stepId, arguments: request.arguments };
          toolCalls.set(key, create(ToolCallSchema, { ...init, status: ToolCallStatus.STARTED }));
          return { toolCall: toolCalls.get(key) };
        },
        succeedToolCall({ leaseToken, toolCallId, result }) {
          const call = byId(held(leaseToken).toolCalls, (item) => item.toolCallId === toolCallId);
          return { toolCall: Object.assign(call, { status: ToolCallStatus.SUCCEEDED, result }) };
        },
        failToolCall({ leaseToken, toolCallId, error }) {
          const call = byId(held(leaseToken).toolCalls, (item) => item.toolCallId === toolCallId);
          return { toolCall: Object.assign(call, { status: ToolCallStatus.FAILED, error }) };
        },
        reconcileToolCall({ leaseToken, toolCallId, result, note }) {
          const call = byId(held(leaseToken).toolCalls, (item) => item.toolCallId === toolCallId);
          return { toolCall: Object.assign(call, { status: ToolCallStatus.RECONCILED, result, note }) };
        },
      }),
    { router: { interceptors: [faults] } },
  );

  const engine: FakeEngine = {
    client: createSignalboxClient({ transport }),
    calls,
    runs,
    fault: () => {},
    submit(init) {
      const run = create(RunSchema, { runId: `run_${++count}`, queue: "default", status: RunStatus.QUEUED, ...init });
      const submitted: FakeRun = { run, leaseToken: "", steps: new Map(), toolCalls: new Map() };
      runs.push(submitted);
      return submitted;
    },
    callsOf: (wanted) => calls.filter(({ method }) => method === wanted),
    async ended(found) {
      await until(() => terminal.includes(found.run.status), { what: `run ${found.run.runId} to end` });
      const { status, output, error } = found.run;
      const name = Object.keys(RunStatus).find((key) => RunStatus[key as keyof typeof RunStatus] === status) ?? "";
      return { status: name, output: valueToJson(output), error };
    },
    takeOver(found) {
      found.leaseToken = "somebody else's";
    },
    cancel(found) {
      end(found, { status: RunStatus.CANCELED });
    },
  };
  return engine;
}

/** The error that the server answers with. */
export function refusal(reason: Reason, message: string): Error {
  return toConnectError(new SignalboxError(reason, message));
}

function byId<T>(items: Map<string, T>, matches: (item: T) => boolean): T {
  const found = [...items.values()].find(matches);
  if (found === undefined) throw refusal("STEP_NOT_FOUND", "no such step or tool call");
  return found;
}

/** One turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 1));
}
