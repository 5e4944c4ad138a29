import { ApprovalVerdict, createSignalboxClient, follow, type SignalboxClient } from "../../src/client/client.ts";
import { answerQuestions } from "../support/answer.ts";
import { storedSizes } from "../support/installation.ts";
import { holdRuns } from "../support/leases.ts";
import { inParallel, type Load, type LoadShape, press } from "../support/load.ts";
import { newRun } from "../support/runs.ts";
import { type Board, createBoard, submitOneByOne } from "../support/submit.ts";
import { heldBack, type ToolCallKind, type ToolCallKindName, toolCallKinds } from "../support/tool-calls.ts";

const resources = new AsyncDisposableStack();
const text = "signalbox ".repeat(20);

/** Runs of the handler `asks`, as someone follows them who is to approve what they ask. */
interface Inbox {
  /** On it are runs that wait, by their ids. */
  readonly waiting: Board;
  readonly ended: Board;
  /** What each of them asks, by the id of the run. */
  readonly questions: Map<string, Question>;
}

interface Question {
  readonly approvalId: string;
  readonly payloadDigest: string;
}

interface Opened {
  readonly client: SignalboxClient;
  readonly inbox: Inbox;
  readonly roomId: string;
  in(kind: ToolCallKind): SignalboxClient;
}
let opened: Opened | undefined;

function installation(): Opened {
  if (opened === undefined) throw new Error("open comes first");
  return opened;
}

async function followQuestions(client: SignalboxClient, { waiting, ended, questions }: Inbox): Promise<void> {
  const types = ["approval.requested", "run.suspended", "run.succeeded"];
  for await (const { stream, payload } of follow(client, { filter: { types }, signal: stopping.signal })) {
    const id = stream?.id ?? "";
    if (payload.case === "approvalRequested") {
      questions.set(payload.value.runId, { approvalId: id, payloadDigest: payload.value.payloadDigest });
    }
    if (payload.case === "runSuspended") waiting.finish(id);
    if (payload.case === "runSucceeded") ended.finish(id);
  }
}

function decide({ approvals }: SignalboxClient, question: Question | undefined): Promise<unknown> {
  if (question === undefined) throw new Error("nobody has asked");
  return approvals.decideApproval({ ...question, verdict: ApprovalVerdict.APPROVE });
}

const stopping = new AbortController();
resources.defer(() => stopping.abort());

const functions = {
  /** Connects, and puts the policies. */
  async open(url: string): Promise<void> {
    const connect = (workspaceId?: string) => resources.use(createSignalboxClient({ baseUrl: url, workspaceId }));
    const client = connect();
    const clients = new Map<string, SignalboxClient>();
    for (const { workspaceId, cedar } of [...Object.values(toolCallKinds), heldBack]) {
      const own = connect(workspaceId);
      clients.set(workspaceId, own);
      if (cedar !== "") await own.policy.putPolicy({ policy: { cedar } });
    }
    const { room } = await client.rooms.createRoom({ name: "benchmark" });
    const inbox = { waiting: createBoard(), ended: createBoard(), questions: new Map<string, Question>() };
    void followQuestions(client, inbox);
    opened = { client, inbox, roomId: room?.roomId ?? "", in: (kind) => clients.get(kind.workspaceId) ?? client };
  },
  /** Calls StartToolCall, then SucceedToolCall, which count as one. Each of those under way is in a run of its own. */
  async callTools({ kind, ...shape }: LoadShape & { kind: ToolCallKindName }): Promise<Load> {
    const wanted = toolCallKinds[kind];
    const runs = await holdRuns(installation().in(wanted), shape.concurrency);
    const load = await press(shape, async (slot) => runs[slot]?.callTool(wanted));
    for (const run of runs) await run.end();
    return load;
  },
  /** Has runs ask for something, and once all wait, approves one after the other. Latencies are from decision to end. */
  async approveOneByOne({ count }: { count: number }): Promise<Load> {
    const { client, inbox } = installation();
    const runIds: string[] = [];
    await inParallel(count, 8, async () => {
      const { run } = await client.runs.createRun({ ...newRun, handler: "asks" });
      runIds.push(run?.runId ?? "");
    });
    for (const runId of runIds) await inbox.waiting.done(runId);
    const submit = async () => {
      const runId = runIds.shift() ?? "";
      await decide(client, inbox.questions.get(runId));
      return runId;
    };
    return submitOneByOne({ submit, board: inbox.ended, count });
  },
  /** Has calls held back, then approves them, so many people at a time. Returns how many were decided in a second. */
  async approveMany({ count, deciders }: { count: number; deciders: number }): Promise<number> {
    const client = installation().in(heldBack);
    const runs = await holdRuns(client, deciders);
    const questions: Question[] = [];
    await inParallel(count, deciders, async (index) => {
      const approvalId = (await runs[index % deciders]?.askFor(heldBack)) ?? "";
      const { approval } = await client.approvals.getApproval({ approvalId });
      questions.push({ approvalId, payloadDigest: approval?.payloadDigest ?? "" });
    });
    const people = Array.from({ length: deciders }, (_, n) => client.onBehalfOf(`user:decider-${n}`));
    const startedAt = performance.now();
    await inParallel(count, deciders, (index) => decide(people[index % deciders] ?? client, questions[index]));
    // The runs stay as they are: with their ends, every approval would be canceled, during the next turn.
    return (count / (performance.now() - startedAt)) * 1000;
  },
  /** Posts messages to one room, everybody under a name of their own. */
  post(shape: LoadShape): Promise<Load> {
    const { client, roomId } = installation();
    const people = Array.from({ length: shape.concurrency }, (_, n) => client.onBehalfOf(`user:poster-${n}`));
    return press(shape, async (slot) => people[slot]?.rooms.postMessage({ roomId, text }));
  },
  /** What a call of a kind, a decision and a message are as stored, in bytes. Each has to have happened before. */
  async sizes(kind: ToolCallKindName): Promise<{ call: number[]; decision: number[]; message: number[] }> {
    const { client, ...others } = installation();
    const own = others.in(toolCallKinds[kind]);
    const [started = 0] = await storedSizes(own, { types: ["tool_call.started"] });
    const [succeeded = 0] = await storedSizes(own, { types: ["tool_call.succeeded"] });
    const [decided = 0] = await storedSizes(others.in(heldBack), { types: ["approval.decided"] });
    const [posted = 0] = await storedSizes(client, { types: ["message.posted"] });
    return { call: [started, succeeded], decision: [decided], message: [posted] };
  },
};

/** Workers, deciders and people who talk, in a process of their own. */
export type GateClientsProcess = typeof functions;

answerQuestions(functions, resources);
