import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Approval, ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { type Run, type RunError, RunStatus, type Step, type ToolCall } from "../../gen/signalbox/v1/run_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import { type JsonValue, jsonValue, valueToJson } from "../client/json.ts";
import { createWorker, type WorkerOptions } from "../engine/worker.ts";
import { type MemoryInstallation, openMemoryInstallation } from "./memory-installation.ts";

/** What a test works with. */
export interface TestOptions extends Pick<WorkerOptions, "handlers" | "tools" | "models" | "onError"> {
  /** Where the clock stands at first, default 2030-01-01T00:00:00Z. */
  readonly now?: Date | undefined;
}

/** What to run: what CreateRun takes, with a JSON input. */
export type TestRunRequest = Partial<Omit<CreateRunRequest, "input" | "$typeName" | "$unknown">> & {
  /** JSON. */
  readonly input?: unknown;
};

/** A run and what it did. */
export interface TestRun {
  readonly run: Run;
  /** What the handler returned; undefined unless the run has succeeded. */
  readonly output: JsonValue | undefined;
  /** Why the run failed, or its last attempt did. */
  readonly error: RunError | undefined;
  /** In order. */
  readonly events: readonly Event[];
  readonly steps: readonly Step[];
  readonly toolCalls: readonly ToolCall[];
  /** The files that it stored, in order; outputs of steps are left out. */
  readonly artifacts: readonly Artifact[];
  /** What it showed while it ran, by step, text put together. */
  readonly shown: ReadonlyMap<string, string>;
}

/** Signalbox in memory, with one worker. Time stands still until it is moved. */
export interface TestSignalbox extends AsyncDisposable {
  /**
   * RunService, EngineService, EventService, ApprovalService, AgentService without ListAgents, and PolicyService and ArtifactService as
   * far as they go without tables: a policy can be put, tried and read, an artifact stored, read and deleted. Other services are not
   * there.
   */
  readonly client: SignalboxClient;
  /** What time it is. */
  now(): Date;
  /** Moves the clock, and lets happen what becomes due. Resolves when everything has come to rest. */
  advance(ms: number): Promise<void>;
  /**
   * Creates a run and works on it until it has ended, or until it waits for something that time alone does not bring: a
   * message, or somebody who resumes it. Time that it waits for passes at once.
   */
  run(request: TestRunRequest): Promise<TestRun>;
  /** The same for a run that is there already, for example after a message or an approval. */
  resume(runId: string): Promise<TestRun>;
  /** The approvals that wait for people, the oldest first. They last until the clock is moved that far by `advance`. */
  pendingApprovals(): readonly Approval[];
  /** Approves, with another payload when one is given. Throws an error when it is not clear which approval is meant. */
  approve(decision?: TestDecision & { readonly payload?: unknown }): Promise<Approval>;
  /** Denies. Throws an error when it is not clear which approval is meant. */
  deny(decision?: TestDecision): Promise<Approval>;
}

/** What somebody says to an approval. */
export interface TestDecision {
  /** Default the only one that waits. */
  readonly approvalId?: string | undefined;
  /** Who says it, default `user:test`. */
  readonly as?: string | undefined;
  /** Why. */
  readonly comment?: string | undefined;
}

const workspaceId = "ws_test";
const defaultStart = new Date("2030-01-01T00:00:00Z");

/** Opens Signalbox in memory: the services and the worker of production, without NATS, Postgres or a network. */
export async function openTestSignalbox(options: TestOptions): Promise<TestSignalbox> {
  await using opening = new AsyncDisposableStack();
  const installation = opening.use(await openMemoryInstallation(options.now ?? defaultStart));
  const signalbox = opening.use(startTestWorker(installation, workspaceId, options));
  const open = opening.move();
  return { ...signalbox, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** A worker of an installation in memory, and what a test does with both. */
export function startTestWorker(
  installation: MemoryInstallation,
  workspace: string,
  { handlers, tools, models, onError }: Omit<TestOptions, "now">,
): TestSignalbox {
  const { clock, lists, deltas } = installation;
  const client = installation.client(workspace);
  const stop = new AbortController();
  const worker = createWorker({ client, handlers, tools, models, onError, concurrency: 100, longestHeldSleepMs: 0 });
  const working = worker.run(stop.signal);
  // A worker that gives up has something to say, which whoever waits should hear.
  working.catch((error: unknown) => stop.abort(error));

  /** Nothing is under way, and nothing can be until the clock moves or somebody does something. */
  function atRest(): boolean {
    const nowMs = clock.now().getTime();
    return lists.all().every(({ status, availableTime }) => {
      if (status === RunStatus.QUEUED)
        return availableTime !== undefined && timestampDate(availableTime).getTime() > nowMs;
      return status !== RunStatus.RUNNING;
    });
  }

  async function settle(runId: string): Promise<TestRun> {
    for (;;) {
      await installation.until(() => lists.run(runId) !== undefined && atRest(), stop.signal);
      if (lists.run(runId)?.endTime !== undefined || !(await installation.skip())) return describe(runId);
    }
  }

  async function describe(runId: string): Promise<TestRun> {
    const { run } = await client.runs.getRun({ runId });
    if (run === undefined) throw new Error(`run ${runId} is not there`);
    const events: Event[] = [];
    for (let afterPosition = 0n; ;) {
      const page = await client.events.listEvents({ filter: { runId }, afterPosition, pageSize: 200 });
      events.push(...page.events);
      if (page.events.length === 0) break;
      afterPosition = page.nextPosition;
    }
    const { steps } = await client.runs.listSteps({ runId });
    const { toolCalls } = await client.runs.listToolCalls({ runId });
    const shown = new Map<string, string>();
    for (const { delta } of deltas.of(runId)) {
      if (delta !== undefined) shown.set(delta.stepKey, (shown.get(delta.stepKey) ?? "") + delta.text);
    }
    const artifacts = lists.files(runId);
    return { run, output: valueToJson(run.output), error: run.error, events, steps, toolCalls, artifacts, shown };
  }

  const pendingApprovals = () =>
    lists
      .openApprovals()
      .filter(({ workspaceId: own, status }) => own === workspace && status !== ApprovalStatus.APPROVED);

  async function decide(verdict: ApprovalVerdict, decision: TestDecision, payload?: unknown): Promise<Approval> {
    const { approvalId, as = "user:test", comment = "" } = decision;
    await installation.until(atRest, stop.signal);
    const { approvals } = client.onBehalfOf(as);
    let approval = chosen(pendingApprovals(), approvalId);
    if (payload !== undefined) {
      const { payloadDigest } = approval;
      const edit = { approvalId: approval.approvalId, payload: jsonValue(payload), payloadDigest, comment };
      approval = present(await approvals.editApproval(edit));
    }
    const { approvalId: id, payloadDigest } = approval;
    return present(await approvals.decideApproval({ approvalId: id, verdict, comment, payloadDigest }));
  }

  return {
    client,
    pendingApprovals,
    approve: ({ payload, ...decision } = {}) => decide(ApprovalVerdict.APPROVE, decision, payload),
    deny: (decision = {}) => decide(ApprovalVerdict.DENY, decision),
    now: () => clock.now(),
    async advance(ms) {
      const end = new Date(clock.now().getTime() + ms);
      do await installation.until(atRest, stop.signal);
      while (await installation.skip(end));
      clock.advanceTo(end);
    },
    async run({ input, ...request }) {
      const value = input === undefined ? undefined : jsonValue(input);
      const { run } = await client.runs.createRun({ ...request, ...(value && { input: value }) });
      return settle(run?.runId ?? "");
    },
    resume: settle,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await worker[Symbol.asyncDispose]();
      await working.catch(() => {});
    },
  };
}

function chosen(pending: readonly Approval[], approvalId: string | undefined): Approval {
  const found = pending.filter((approval) => approvalId === undefined || approval.approvalId === approvalId);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const all = pending.map(({ approvalId: id, action }) => `${id} (${action?.type ?? ""})`).join(", ");
  const problem = approvalId === undefined ? "say which approval you mean" : `${approvalId} does not wait`;
  throw new Error(`${problem}; there ${all === "" ? "are none" : `wait ${all}`}`);
}

function present({ approval }: { approval?: Approval | undefined }): Approval {
  if (approval === undefined) throw new Error("the answer has no approval");
  return approval;
}
