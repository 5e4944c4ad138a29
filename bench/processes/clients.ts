import { createSignalboxClient, follow, RunStatus, type SignalboxClient } from "../../src/client/client.ts";
import { answerQuestions } from "../support/answer.ts";
import { type Load, type LoadShape, press } from "../support/load.ts";
import { newRun } from "../support/runs.ts";
import { type Board, createBoard, submitMany, submitOneByOne } from "../support/submit.ts";

const resources = new AsyncDisposableStack();

/** A protocol of the clients, over HTTP/2 without TLS. */
export type Protocol = "connect" | "grpc";

interface Connection {
  readonly client: SignalboxClient;
  /** Knows which runs have ended; set up when first asked for. */
  board?: Promise<Board>;
}
const connections = new Map<string, Connection>();

function connect(url: string, protocol: Protocol = "connect"): Connection {
  const key = `${protocol} ${url}`;
  const connection = connections.get(key) ?? { client: createSignalboxClient({ baseUrl: url, protocol }) };
  connections.set(key, connection);
  return connection;
}

/** Follows the ends of runs from now on. */
async function openBoard(client: SignalboxClient): Promise<Board> {
  const board = createBoard();
  const { position } = await client.runs.createRun(newRun);
  const signal = stopping.signal;
  void (async () => {
    const filter = { types: ["run.succeeded"] };
    for await (const { stream } of follow(client, { filter, fromPosition: position, signal })) {
      board.finish(stream?.id ?? "");
    }
  })();
  return board;
}

/** Which runs to submit: to which handler on which queue; default `echo` on `default`. */
interface Target {
  readonly url: string;
  readonly handler?: string;
  readonly queue?: string;
}

/** What to evaluate how. */
interface EvaluationShape {
  readonly url: string;
  readonly cases: number;
  readonly repeats: number;
  readonly parallelism: number;
}

async function submissions({ url, handler = newRun.handler, queue = "" }: Target, count: number) {
  const connection = connect(url);
  const { client } = connection;
  const board = await (connection.board ??= openBoard(client));
  const submit = async () => (await client.runs.createRun({ ...newRun, handler, queue })).run?.runId ?? "";
  return { submit, board, count };
}

const stopping = new AbortController();
resources.defer(() => {
  stopping.abort();
  for (const { client } of connections.values()) client.close();
});

const functions = {
  /** Calls CreateRun. */
  create({ url, protocol, ...shape }: LoadShape & { url: string; protocol: Protocol }): Promise<Load> {
    const { client } = connect(url, protocol);
    return press(shape, () => client.runs.createRun(newRun));
  },
  /** Creates runs one after the other, each when the one before has succeeded. */
  async runOneByOne({ count, ...target }: Target & { count: number }): Promise<Load> {
    return submitOneByOne(await submissions(target, count));
  },
  /** Creates runs, so many at a time, and waits for all to succeed. Returns how many did in a second. */
  async runMany({ count, concurrency, ...target }: Target & { count: number; concurrency: number }): Promise<number> {
    return submitMany(await submissions(target, count), concurrency);
  },
  /** Evaluates `echo`: so many cases, each as often, so many trials at a time. Returns how many were made in a second. */
  async evaluate({ url, cases, repeats, parallelism }: EvaluationShape): Promise<number> {
    const { client } = connect(url);
    const { input } = newRun;
    const asked = Array.from({ length: cases }, (_, n) => ({ key: `case-${n}`, input, expected: input }));
    const { suite } = await client.evals.putSuite({ suite: { name: "benchmark", cases: asked } });
    const target = { target: { case: "handler" as const, value: newRun.handler } };
    const startedAt = performance.now();
    const suiteId = suite?.suiteId ?? "";
    const { evaluation } = await client.evals.evaluate({ suiteId, target, repeats, parallelism });
    const runId = evaluation?.evaluationId ?? "";
    const { run } = await client.runs.waitRun({ runId, timeout: { seconds: 300n } });
    if (run?.status !== RunStatus.SUCCEEDED)
      throw new Error(`the evaluation has not succeeded: ${run?.error?.message}`);
    return ((cases * repeats) / (performance.now() - startedAt)) * 1000;
  },
};

/** Users of Signalbox, in a process of their own. */
export type ClientsProcess = typeof functions;

answerQuestions(functions, resources);
