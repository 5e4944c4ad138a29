import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createBackoff, pause } from "../../../src/client/backoff.ts";
import { isTransient, jsonValue, reasonOf, RunStatus, type SignalboxClient } from "../../../src/client/client.ts";
import { openRecordedClient } from "../../support/recorded-client.ts";
import { createSeeded, type Seeded } from "../../support/seeded.ts";
import { until } from "../../support/until.ts";

/** What puts an installation to work. */
export interface LoadOptions {
  /** Where the servers are; the clients are spread over them and move on when one does not answer. */
  readonly urls: readonly string[];
  /** Where the history files go. */
  readonly folder: string;
  /** Starts the names of the clients, and the ids of their requests. */
  readonly name: string;
  readonly clients: number;
  readonly seed: number;
}

/**
 * Clients at work, each creating a run, looking at it in some way, waiting for its end, and again. Disposing it ends them in
 * the middle of whatever they do.
 */
export interface Load extends AsyncDisposable {
  /** Runs whose creation was acknowledged so far. */
  readonly created: number;
  /** Runs whose end a client has seen so far. */
  readonly ended: number;
  /** Calls so far of which nobody knows what became. */
  readonly unanswered: number;
  /** Creates no more runs; resolves when the clients have seen those that they wait for. Rejects with what a client died of. */
  stop(): Promise<void>;
}

/** A call may take this long; then its outcome is unknown. */
const timeoutMs = 2_000;

/** Starts the clients. */
export function startLoad({ urls, folder, name, clients: count, seed }: LoadOptions): Load {
  const stopping = new AbortController();
  const closing = new AbortController();
  const { signal } = closing;
  const counts = { created: 0, ended: 0, unanswered: 0 };
  const running = Array.from({ length: count }, async (_, index) => {
    const caller = `${name}-${index + 1}`;
    const file = join(folder, `${caller}.jsonl`);
    const clients = urls.map((url, at) => openRecordedClient(url, `${caller}-${at + 1}`, file));
    try {
      const random = createSeeded(seed + index);
      await work({ caller, clients, turn: index, random, counts, closing: signal }, stopping.signal);
    } finally {
      for (const client of clients) client.close();
    }
  });
  const all = Promise.all(running);
  // Heard by whoever stops the load.
  all.catch(() => stopping.abort());
  return {
    get created() {
      return counts.created;
    },
    get ended() {
      return counts.ended;
    },
    get unanswered() {
      return counts.unanswered;
    },
    async stop() {
      stopping.abort();
      await all;
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.allSettled(running);
    },
  };
}

/** Waits until a few more runs have come to their end. */
export async function progress(load: Load, runs: number): Promise<void> {
  const { ended } = load;
  await until(() => load.ended >= ended + runs, { what: `${runs} more runs to end`, timeoutMs: 20_000 });
}

interface Caller {
  readonly caller: string;
  readonly clients: readonly SignalboxClient[];
  /** Counts the failures: each moves on to the next server. */
  turn: number;
  readonly random: Seeded;
  readonly counts: { created: number; ended: number; unanswered: number };
  /** Ends every call. */
  readonly closing: AbortSignal;
}

async function work(own: Caller, stopping: AbortSignal): Promise<void> {
  for (let number = 1; !stopping.aborted; number++) {
    const request = newRun(own.random, `${own.caller}/${number}`);
    const runId = await createRun(own, request);
    own.counts.created++;
    await lookAround(own, request, runId);
    while (!(await hasEnded(own, runId)));
    own.counts.ended++;
  }
}

type NewRun = ReturnType<typeof newRun>;

/** A run of some kind: one that works, fails first, takes its time, is out of attempts or overdue. */
function newRun(random: Seeded, requestId: string) {
  const kinds = [
    { handler: "echo", input: { number: random.below(1_000) } },
    { handler: "steps", input: { count: 1 + random.below(4) } },
    { handler: "flaky", input: { failures: 1 + random.below(2) } },
    { handler: "sleep", input: { ms: random.below(250) } },
  ];
  const kind = random.pick(kinds);
  const overdue = random.oneIn(25);
  const exhausted = random.oneIn(25);
  return {
    requestId,
    handler: overdue ? "sleep" : exhausted ? "flaky" : kind.handler,
    input: jsonValue(overdue ? { ms: 60_000 } : exhausted ? { failures: 9 } : kind.input),
    roomId: random.pick(["", "room_a", "room_b"]),
    labels: { kind: kind.handler },
    retryPolicy: {
      maxAttempts: exhausted ? 2 : 50,
      initialBackoff: durationFromMs(50),
      maxBackoff: durationFromMs(200),
    },
    ...(overdue ? { maxDuration: durationFromMs(300) } : {}),
  };
}

/** Repeats the same request until it is answered. */
async function createRun(own: Caller, request: NewRun): Promise<string> {
  const { run } = await insist(own, (client) => client.runs.createRun(request, { timeoutMs, signal: own.closing }));
  return run?.runId ?? "";
}

/** What clients do beside waiting. */
async function lookAround(own: Caller, request: NewRun, runId: string): Promise<void> {
  const { random } = own;
  if (random.oneIn(5)) await createRun(own, request);
  if (random.oneIn(10))
    await insist(own, (client) => client.runs.getRun({ runId }, { timeoutMs, signal: own.closing }));
  if (random.oneIn(10))
    await attempt(own, (client) => client.runs.listRuns({ pageSize: 5 }, { timeoutMs, signal: own.closing }));
  if (random.oneIn(15)) {
    const other = { ...request, labels: { kind: "other" } };
    await refused(own, "REQUEST_ID_REUSED", (client) =>
      client.runs.createRun(other, { timeoutMs, signal: own.closing }),
    );
  }
  if (random.oneIn(12)) {
    await refused(own, "INVALID_STATE", (client) =>
      client.runs.cancelRun({ runId, reason: "no need" }, { timeoutMs, signal: own.closing }),
    );
  }
}

const terminal: ReadonlySet<RunStatus> = new Set([RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED]);

async function hasEnded(own: Caller, runId: string): Promise<boolean> {
  const request = { runId, timeout: durationFromMs(timeoutMs / 2) };
  const answer = await attempt(own, (client) => client.runs.waitRun(request, { timeoutMs, signal: own.closing }));
  const status = answer?.run?.status ?? RunStatus.UNSPECIFIED;
  return terminal.has(status);
}

type Call<T> = (client: SignalboxClient) => Promise<T>;

/** The answer, after as many repeats as it takes. */
async function insist<T extends {}>(own: Caller, call: Call<T>): Promise<T> {
  const backoff = createBackoff(25, 250);
  for (;;) {
    const answer = await attempt(own, call);
    if (answer !== undefined) return answer;
    await pause(backoff.next(), own.closing);
  }
}

/** The same for a call that may also be refused for the one reason. */
async function refused<T extends {}>(own: Caller, reason: string, call: Call<T>): Promise<void> {
  await insist<object>(own, async (client) => {
    try {
      return await call(client);
    } catch (error) {
      if (reasonOf(error) === reason) return {};
      throw error;
    }
  });
}

/** The answer; undefined when there was none, and the next call goes to another server. Throws what is no matter of time. */
async function attempt<T>(own: Caller, call: Call<T>): Promise<T | undefined> {
  const client = own.clients[own.turn % own.clients.length];
  if (client === undefined) throw new Error("a load needs a server");
  try {
    return await call(client);
  } catch (error) {
    if (!isTransient(error) || own.closing.aborted) throw error;
    own.counts.unanswered++;
    own.turn++;
    return undefined;
  }
}
