import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, type Interceptor } from "@connectrpc/connect";
import { AgentSchema, AgentStatus } from "../../gen/signalbox/v1/agent_pb.ts";
import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { ApprovalService } from "../../gen/signalbox/v1/approval_service_pb.ts";
import type { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Delta } from "../../gen/signalbox/v1/delta_pb.ts";
import { type ClaimRunResponseSchema, EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import {
  type BudgetSchema,
  type Run,
  RunSchema,
  RunStatus,
  type Step,
  type ToolCall,
  ToolCallStatus,
} from "../../gen/signalbox/v1/run_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { createSignalboxClient, jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { createFakeArtifacts, type FakeArtifacts } from "./fake-artifacts.ts";
import { createFakeGate, type FakeGate, stopOf } from "./fake-gate.ts";
import {
  addMessage,
  endLease,
  endStep,
  endToolCall,
  type FakeLog,
  type FakeRun,
  holding,
  isOpen,
  pauseOf,
  refusal,
  startStep,
  startToolCall,
} from "./fake-run.ts";

export { type FakeRun, refusal } from "./fake-run.ts";

/** The name of a method of any service of the fake. */
export type Method =
  | keyof typeof EngineService.method
  | keyof typeof RunService.method
  | keyof typeof EventService.method
  | keyof typeof AgentService.method
  | keyof typeof ApprovalService.method
  | keyof typeof ArtifactService.method;

/** One call that reached the fake. */
export interface FakeCall {
  readonly method: Method;
  readonly request: unknown;
  /** On whose behalf it came. */
  readonly onBehalfOf: string | null;
}

/** What a worker talks to, in memory: runs, leases, steps, tool calls, waits as the contract has them; faults on demand. */
export interface FakeEngine {
  readonly client: SignalboxClient;
  readonly calls: FakeCall[];
  readonly runs: FakeRun[];
  /** Policy, approvals and the kill switch. */
  readonly gate: FakeGate;
  readonly artifacts: FakeArtifacts;
  /** What was shown while it was made, in order. */
  readonly deltas: Delta[];
  /** Looks at every call before and after it is served; what it throws is the answer. */
  fault: (call: FakeCall, when: "before" | "after") => void | Promise<void>;
  /** True when claims leave outputs and results out. */
  omitsOutputs: boolean;
  submit(run: MessageInitShape<typeof RunSchema>): FakeRun;
  /** The calls of one method so far. */
  callsOf(method: Method): FakeCall[];
  /** Waits until the run has ended, and returns it with its output in JSON. */
  ended(run: FakeRun): Promise<{ status: string; output: unknown; error: unknown }>;
  /** Gives the run to another worker. */
  takeOver(run: FakeRun): void;
  /** The worker has fallen silent: the lease is over, and the run is queued again. */
  expire(run: FakeRun): void;
  cancel(run: FakeRun): void;
  /** Asks a running run to pause, pauses another one. */
  pause(run: FakeRun): void;
  resume(run: FakeRun, budget?: MessageInitShape<typeof BudgetSchema>): void;
  say(run: FakeRun, content: Parameters<typeof jsonValue>[0], threadId?: string): void;
}

/** Creates one. Leases hold 30 s unless told otherwise; the clock is the machine's. */
export function fakeEngine(leaseTtlMs = 30_000, clockMs: () => number = Date.now): FakeEngine {
  // A timestamp has whole nanoseconds.
  const nowMs = () => Math.floor(clockMs());
  const runs: FakeRun[] = [];
  const calls: FakeCall[] = [];
  const deltas: Delta[] = [];
  const lastLeases = new Map<string, FakeRun>();
  const agents = new Map<string, { agent: ReturnType<typeof newAgent>; body: string }>();
  let count = 0;
  let position = 0n;
  let changed = Promise.withResolvers<void>();
  const log: FakeLog = { nowMs, next: () => ++position };
  const gate = createFakeGate(log, ({ runId }) => wake(runOf(runId)));

  const artifacts = createFakeArtifacts(log, held);

  /** Lets everyone look who waits for a run. */
  function notify(): void {
    changed.resolve();
    changed = Promise.withResolvers();
  }

  function held(leaseToken: string): FakeRun {
    const found = runs.find((run) => run.leaseToken === leaseToken && run.run.status === RunStatus.RUNNING);
    if (found === undefined) throw refusal("LEASE_LOST", "this lease is over");
    return found;
  }

  function runOf(runId: string): FakeRun {
    const found = runs.find(({ run }) => run.runId === runId);
    if (found === undefined) throw refusal("RUN_NOT_FOUND", "no such run");
    return found;
  }

  function end(own: FakeRun, change: MessageInitShape<typeof RunSchema>): { run: Run; position: bigint } {
    const run = endLease(log, own, change);
    if (!isOpen(own)) {
      const parent = runs.find((other) => other.run.runId === run.parentRunId);
      if (parent && isOpen(parent)) {
        parent.endedChildren.add(run.runId);
        wake(parent);
      }
      for (const child of runs) {
        if (child.run.parentRunId === run.runId && isOpen(child)) end(child, { status: RunStatus.CANCELED });
      }
    }
    notify();
    return { run, position };
  }

  function wake(own: FakeRun): void {
    if (own.run.status !== RunStatus.WAITING || holding(log, own, own.conditions).length === 0) return;
    position++;
    own.conditions = [];
    own.run = { ...own.run, status: RunStatus.QUEUED };
    notify();
  }

  function claim(own: FakeRun): MessageInitShape<typeof ClaimRunResponseSchema> {
    const now = timestampFromMs(nowMs());
    const { startTime = now, attempt } = own.run;
    position++;
    own.run = { ...own.run, status: RunStatus.RUNNING, attempt: attempt + 1, startTime };
    own.leaseToken = `lease-${++count}`;
    lastLeases.set(own.leaseToken, own);
    return {
      run: own.run,
      leaseToken: own.leaseToken,
      leaseTtl: durationFromMs(leaseTtlMs),
      leaseExpireTime: timestampFromMs(nowMs() + leaseTtlMs),
      recordedSteps: [...own.steps.values()].map(claimedStep),
      recordedToolCalls: [...own.toolCalls.values()].map(claimedToolCall),
      unknownToolCalls: [...own.toolCalls.values()].filter(({ status }) => status === ToolCallStatus.UNKNOWN),
      messages: [...own.messages],
      messagesComplete: true,
      serverTime: now,
      position,
    };
  }

  const claimedStep = (step: Step): Step =>
    engine.omitsOutputs && step.output ? { ...step, output: undefined, outputOmitted: true } : { ...step };
  const claimedToolCall = (call: ToolCall): ToolCall =>
    engine.omitsOutputs && call.result ? { ...call, result: undefined, resultOmitted: true } : { ...call };

  function submit(init: MessageInitShape<typeof RunSchema>): FakeRun {
    const run = create(RunSchema, { runId: `run_${++count}`, queue: "default", status: RunStatus.QUEUED, ...init });
    const [steps, toolCalls] = [new Map<string, Step>(), new Map<string, ToolCall>()];
    const own: FakeRun = {
      run,
      leaseToken: "",
      steps,
      toolCalls,
      messages: [],
      endedChildren: new Set(),
      gate,
      conditions: [],
    };
    runs.push(own);
    position++;
    notify();
    return own;
  }

  const faults: Interceptor = (next) => async (request) => {
    const call = {
      method: request.method.localName as Method,
      request: request.message,
      onBehalfOf: request.header.get("x-on-behalf-of"),
    };
    calls.push(call);
    await engine.fault(call, "before");
    const response = await next(request);
    await engine.fault(call, "after");
    return response;
  };

  const created = new Map<string, FakeRun>();
  const transport = createRouterTransport(
    (router) => {
      router.service(EngineService, {
        async claimRun({ handlers, queues, maxWait }, { signal }) {
          const overMs = nowMs() + (maxWait ? durationMs(maxWait) : 0);
          for (;;) {
            const found = runs.find(
              ({ run }) =>
                run.status === RunStatus.QUEUED && handlers.includes(run.handler) && queues.includes(run.queue),
            );
            if (found !== undefined) return claim(found);
            if (!(await isChanged(changed.promise, overMs - nowMs(), signal))) return {};
          }
        },
        heartbeat({ leaseToken }) {
          if (lastLeases.get(leaseToken)?.run.status === RunStatus.CANCELED) return { cancelRequested: true };
          const { pauseRequested } = held(leaseToken).run;
          return { pauseRequested, externalWritesStopped: gate.stopped, killEpoch: gate.stopped ? 7n : 0n };
        },
        reportWorker: () => ({}),
        publishDeltas({ leaseToken, deltas: more }) {
          held(leaseToken);
          deltas.push(...more);
          return {};
        },
        releaseRun({ leaseToken }) {
          const own = held(leaseToken);
          return end(own, pauseOf(own) ?? stopOf(own) ?? { status: RunStatus.QUEUED });
        },
        completeRun: ({ leaseToken, output }) =>
          end(held(leaseToken), { status: RunStatus.SUCCEEDED, output, error: undefined }),
        failRun({ leaseToken, error }) {
          const own = held(leaseToken);
          const failedAttempts = own.run.failedAttempts + 1;
          const again = error?.retryable === true && failedAttempts < (own.run.retryPolicy?.maxAttempts ?? 3);
          const paused = again ? pauseOf(own) : undefined;
          return end(own, { status: again ? RunStatus.QUEUED : RunStatus.FAILED, ...paused, failedAttempts, error });
        },
        suspendRun({ leaseToken, conditions }) {
          const own = held(leaseToken);
          const paused = own.run.pauseRequested ? pauseOf(own) : undefined;
          if (paused !== undefined) return { ...end(own, paused), suspended: true };
          const holds = holding(log, own, conditions);
          if (holds.length > 0) return { run: own.run, position, suspended: false, holding: holds };
          const answer = end(own, { status: RunStatus.WAITING });
          own.conditions = conditions;
          for (const { condition } of conditions) {
            if (condition.case === "time") setTimeout(() => wake(own), timestampMs(condition.value) - nowMs());
          }
          return { ...answer, suspended: true };
        },
        startStep: (request) => ({ step: startStep(log, held(request.leaseToken), request), position }),
        completeStep: ({ leaseToken, stepId, output, outputArtifactId, usage }) => ({
          step: endStep(log, held(leaseToken), stepId, { output, outputArtifactId, usage }),
          position,
        }),
        failStep: ({ leaseToken, stepId, error, usage }) => ({
          step: endStep(log, held(leaseToken), stepId, { error, usage }),
          position,
        }),
        startToolCall(request) {
          const call = startToolCall(log, held(request.leaseToken), request);
          const isApproved = call.approvalId !== "";
          return { toolCall: { ...call, arguments: isApproved ? call.arguments : undefined }, position };
        },
        succeedToolCall({ leaseToken, toolCallId, result }) {
          const change = { status: ToolCallStatus.SUCCEEDED, result };
          return { toolCall: endToolCall(log, held(leaseToken), toolCallId, change), position };
        },
        failToolCall({ leaseToken, toolCallId, error }) {
          const change = { status: ToolCallStatus.FAILED, error };
          return { toolCall: endToolCall(log, held(leaseToken), toolCallId, change), position };
        },
        reconcileToolCall({ leaseToken, toolCallId, result, note }) {
          const change = { status: ToolCallStatus.RECONCILED, result, note };
          return { toolCall: endToolCall(log, held(leaseToken), toolCallId, change), position };
        },
      });
      router.service(RunService, {
        createRun({ requestId, handler, input, parentRunId, roomId, queue, labels, retryPolicy }) {
          const earlier = created.get(requestId);
          if (earlier !== undefined) return { run: earlier.run, position };
          const depth = parentRunId === "" ? 0 : runOf(parentRunId).run.depth + 1;
          if (depth > 32) throw refusal("QUOTA_EXCEEDED", "32 runs stand above this one already");
          if (parentRunId !== "" && !isOpen(runOf(parentRunId))) throw refusal("INVALID_STATE", "the parent has ended");
          const init = { handler, input, parentRunId, roomId, queue: queue || "default", labels, retryPolicy, depth };
          const own = submit(init);
          created.set(requestId, own);
          return { run: own.run, position };
        },
        getRun: ({ runId }) => ({ run: runOf(runId).run }),
      });
      router.service(ApprovalService, {
        requestApproval: ({ leaseToken, stepId, action, payload }) => ({
          approval: gate.request(held(leaseToken), stepId, action, payload),
          position,
        }),
        consumeApproval: ({ leaseToken, approvalId }) => ({
          approval: gate.consume(held(leaseToken), approvalId),
          position,
        }),
      });
      router.service(EventService, {
        listEvents({ filter, afterPosition }) {
          const messages = runOf(filter?.runId ?? "").messages.filter((message) => message.position > afterPosition);
          const events = messages.map(({ $typeName: _type, $unknown: _unknown, ...message }) => ({
            position: message.position,
            payload: { case: "runMessageReceived" as const, value: message },
          }));
          return { events, nextPosition: position };
        },
      });
      artifacts.routes(router);
      router.service(AgentService, {
        createAgent({ requestId, name, handler }) {
          const body = JSON.stringify([name, handler]);
          const found = agents.get(requestId) ?? {
            agent: newAgent({ requestId, name, handler, nowMs: nowMs() }),
            body,
          };
          if (found.body !== body) throw refusal("REQUEST_ID_REUSED", "this request_id had another body");
          agents.set(requestId, found);
          return { agent: found.agent };
        },
        updateAgent({ agent, updateMask }) {
          const found = [...agents.values()].find((item) => item.agent.agentId === agent?.agentId);
          if (found === undefined || agent === undefined) throw refusal("AGENT_NOT_FOUND", "no such agent");
          for (const path of updateMask?.paths ?? []) {
            const field = path.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
            Object.assign(found.agent, { [field]: agent[field as "name"], updateTime: timestampFromMs(nowMs() + 1) });
          }
          return { agent: found.agent };
        },
      });
    },
    { router: { interceptors: [faults] } },
  );
  const engine: FakeEngine = {
    client: createSignalboxClient({ transport }),
    calls,
    gate,
    artifacts,
    runs,
    deltas,
    fault: () => {},
    omitsOutputs: false,
    submit,
    callsOf: (wanted) => calls.filter(({ method }) => method === wanted),
    async ended(own) {
      while (isOpen(own)) await changed.promise;
      const { status, output, error } = own.run;
      return { status: nameOf(status), output: valueToJson(output), error };
    },
    takeOver(own) {
      own.leaseToken = "somebody else's";
    },
    expire(own) {
      if (own.run.status !== RunStatus.RUNNING) return;
      end(own, { status: RunStatus.QUEUED, failedAttempts: own.run.failedAttempts + 1 });
    },
    cancel: (own) => void end(own, { status: RunStatus.CANCELED }),
    pause(own) {
      if (own.run.status === RunStatus.RUNNING) own.run = { ...own.run, pauseRequested: true };
      else own.run = { ...own.run, status: RunStatus.PAUSED };
    },
    resume(own, budget) {
      const next = {
        ...own.run,
        pauseRequested: false,
        ...(budget && { budget: create(RunSchema, { budget }).budget }),
      };
      own.run = own.run.status === RunStatus.PAUSED ? { ...next, status: RunStatus.QUEUED } : next;
      notify();
    },
    say(own, content, threadId = "") {
      addMessage(log, own, threadId, jsonValue(content));
      wake(own);
    },
  };
  return engine;
}

/** The name of a status, for example SUCCEEDED. */
function nameOf(status: RunStatus): string {
  return Object.keys(RunStatus).find((key) => RunStatus[key as keyof typeof RunStatus] === status) ?? "";
}

function newAgent({
  requestId,
  name,
  handler,
  nowMs,
}: {
  requestId: string;
  name: string;
  handler: string;
  nowMs: number;
}) {
  const time = timestampFromMs(nowMs);
  const agentId = `agt_${requestId}`;
  return create(AgentSchema, {
    agentId,
    name,
    handler,
    status: AgentStatus.ACTIVE,
    createTime: time,
    updateTime: time,
  });
}

/** True when something changed within the time. Rejects when the signal aborts. */
async function isChanged(changed: Promise<void>, leftMs: number, signal: AbortSignal): Promise<boolean> {
  const over = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => over.resolve(false), Math.max(leftMs, 0));
  const onAbort = () => over.reject(new ConnectError("the call was given up", Code.Canceled));
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([changed.then(() => true), over.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
