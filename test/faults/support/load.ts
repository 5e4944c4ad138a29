import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type { Run } from "../../../gen/signalbox/v1/run_pb.ts";
import { createBackoff, pause } from "../../../src/client/backoff.ts";
import { isTransient, jsonValue, reasonOf, RunStatus, type SignalboxClient } from "../../../src/client/client.ts";
import { openRecordedClient } from "../../support/recorded-client.ts";
import { createSeeded, type Seeded } from "../../support/seeded.ts";
import { until } from "../../support/until.ts";
import { isParked, type NewRun, newRun } from "./new-run.ts";

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
 * Clients at work, each creating a run, looking at it or steering it in some way, waiting for its end, and again. Some runs
 * they leave waiting or paused. Disposing it ends them in the middle of whatever they do.
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
  const { random, counts } = own;
  for (let number = 1; !stopping.aborted; number++) {
    const request = newRun(random, `${own.caller}/${number}`);
    const runId = await createRun(own, request);
    counts.created++;
    await lookAround(own, request, runId);
    if (isParked(request)) continue;
    const status = await seeThrough(own, runId);
    counts.ended++;
    if (random.oneIn(8)) await seeThrough(own, await startAgain(own, runId, status));
  }
}

/** Repeats the same request until it is answered. */
async function createRun(own: Caller, request: NewRun): Promise<string> {
  const { run } = await insist(own, ({ runs }, options) => runs.createRun(request, options));
  return run?.runId ?? "";
}

/** What clients do beside waiting. */
async function lookAround(own: Caller, request: NewRun, runId: string): Promise<void> {
  const { random } = own;
  if (random.oneIn(5)) await createRun(own, request);
  if (random.oneIn(10)) await insist(own, ({ runs }, options) => runs.getRun({ runId }, options));
  if (random.oneIn(10)) await attempt(own, ({ runs }, options) => runs.listRuns({ pageSize: 5 }, options));
  if (random.oneIn(15)) {
    const other = { ...request, labels: { kind: "other" } };
    await refused(own, "REQUEST_ID_REUSED", ({ runs }, options) => runs.createRun(other, options));
  }
  if (random.oneIn(15)) {
    await ifOpen(own, ({ runs }, options) => runs.cancelRun({ runId, reason: "no need" }, options));
  }
  if (isParked(request)) {
    // What nobody speaks to waits by itself.
    if (request.handler !== "wait") await ifOpen(own, ({ runs }, options) => runs.pauseRun({ runId }, options));
    return;
  }
  if (random.oneIn(6)) await pauseForAMoment(own, runId);
  if (request.handler === "wait") await sayTwice(own, runId);
}

async function pauseForAMoment(own: Caller, runId: string): Promise<void> {
  const momentMs = own.random.below(100);
  await pause(momentMs, own.closing);
  await ifOpen(own, ({ runs }, options) => runs.pauseRun({ runId, note: "for a moment" }, options));
  await pause(momentMs, own.closing);
  await ifOpen(own, ({ runs }, options) => runs.resumeRun({ runId }, options));
}

/** Says the same thing again, after a while: the repeat must answer what was said first. */
async function sayTwice(own: Caller, runId: string): Promise<void> {
  const request = { runId, requestId: `${runId}/word`, content: jsonValue("go on") };
  for (let times = 0; times < 2; times++) {
    await pause(own.random.below(100), own.closing);
    await ifOpen(own, ({ runs }, options) => runs.sendMessage(request, options));
  }
}

/** The run that was made of one that has ended: another try, or a fork of it. */
async function startAgain(own: Caller, runId: string, status: RunStatus): Promise<string> {
  const fork = { runId, requestId: `${runId}/fork` };
  const { run } =
    status === RunStatus.SUCCEEDED
      ? await insist(own, ({ runs }, options) => runs.forkRun(fork, options))
      : await insist(own, ({ runs }, options) => runs.retryRun({ runId }, options));
  return run?.runId ?? "";
}

const terminal: ReadonlySet<RunStatus> = new Set([RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELED]);

/** How the run has ended. Whatever it needs from people to come to its end, it gets. */
async function seeThrough(own: Caller, runId: string): Promise<RunStatus> {
  const request = { runId, timeout: durationFromMs(timeoutMs / 4) };
  for (;;) {
    const { run } = (await attempt(own, ({ runs }, options) => runs.waitRun(request, options))) ?? {};
    if (run === undefined) continue;
    if (terminal.has(run.status)) return run.status;
    if (run.status === RunStatus.PAUSED) await ifOpen(own, ({ runs }, options) => runs.retryRun({ runId }, options));
    else if (waitsForWord(run)) await sayTwice(own, runId);
  }
}

function waitsForWord({ waitingOn }: Run): boolean {
  return waitingOn?.conditions.some(({ condition }) => condition.case === "message") ?? false;
}

type Call<T> = (client: SignalboxClient, options: CallOptions) => Promise<T>;

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
  await insist<object>(own, async (client, options) => {
    try {
      return await call(client, options);
    } catch (error) {
      if (reasonOf(error) === reason) return {};
      throw error;
    }
  });
}

/** The same for what can only be done to a run that has not ended. */
function ifOpen<T extends {}>(own: Caller, call: Call<T>): Promise<void> {
  return refused(own, "INVALID_STATE", call);
}

/** The answer; undefined when there was none, and the next call goes to another server. Throws what is no matter of time. */
async function attempt<T>(own: Caller, call: Call<T>): Promise<T | undefined> {
  const client = own.clients[own.turn % own.clients.length];
  if (client === undefined) throw new Error("a load needs a server");
  try {
    return await call(client, { timeoutMs, signal: own.closing });
  } catch (error) {
    if (!isTransient(error) || own.closing.aborted) throw error;
    own.counts.unanswered++;
    own.turn++;
    return undefined;
  }
}
