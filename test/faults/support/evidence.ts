import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { allProjections } from "../../../src/cli/serve.ts";
import { openStores, type Stores } from "../../../src/cli/stores.ts";
import { RunStatus, type SignalboxClient } from "../../../src/client/client.ts";
import type { StoredMessage } from "../../../src/eventlog/record.ts";
import { orphans, untoldEnds, wakingRuns } from "../../../src/runs/waiting-queries.ts";
import { verify } from "../../../src/readmodel/verify.ts";
import { type Operation, readJsonLines } from "../../support/history.ts";
import { decodeLog, type Evidence } from "../../support/invariants.ts";
import { settlingLeases } from "../../support/invariants/health.ts";
import { checkRecordings } from "../../support/invariants/recordings.ts";
import { answers200, type Processes } from "../../support/processes.ts";
import { pollRecorded, type Recording, type Subscriber } from "../../support/recorded-subscription.ts";
import { until } from "../../support/until.ts";
import type { Load } from "./load.ts";
import { readStoredLog } from "./stored-log.ts";

/** A fault run that is about to be judged. */
export interface Judged {
  readonly processes: Processes;
  /** One of each server. */
  readonly clients: readonly SignalboxClient[];
  readonly subscribers: readonly Subscriber[];
  readonly leaseTtlMs: number;
  readonly load: Load | undefined;
  /** When the last fault was healed, by `performance.now()`. */
  readonly healedMs: number;
}

const log = pino({ level: "silent" });

/** Ends the load, waits until everything is quiet, and gathers what the checker needs. Nothing is judged here. */
export async function gatherEvidence(judged: Judged): Promise<Evidence> {
  const { processes, clients, subscribers, leaseTtlMs, load } = judged;
  // What clients go on asking for after the last fault takes its time.
  const restMs = load === undefined ? judged.healedMs : performance.now();
  const { natsUrl, databaseUrl, folder } = processes;
  await using stores = await openStores({ natsUrl, databaseUrl, replicas: 1, log });
  const settled = await settle(judged, stores);
  const stored = await readStoredLog(stores.nats);
  const poll = await pollRecorded({ name: "poller", clients, wanted: {}, signal: AbortSignal.timeout(20_000) });
  return {
    log: stored,
    operations: await readHistories(folder),
    recordings: [...(await caughtUp(subscribers, stored)), poll],
    readModels: await verify({ postgres: stores.postgres, log: stores.log, projections: allProjections }),
    healed: { ...settled, leaseTtlMs, tookMs: settled.quietMs - restMs },
  };
}

/** Waits for quiet, at most twice as long as the installation may take; then says how things stand. */
async function settle({ load, processes, clients: [client], leaseTtlMs }: Judged, stores: Stores) {
  let stopped = false;
  const stopping = Promise.resolve(load?.stop()).then(() => (stopped = true));
  const urls = processes.servers.map(({ url }) => url);
  const look = () => lookAt(stores, urls);
  const isQuiet = async () => {
    const seen = await look();
    if (!stopped || seen.pendingJobs > 0 || seen.projectedPosition !== seen.head || seen.unwell.length > 0)
      return undefined;
    const open = await client?.runs.listRuns({ statuses: [RunStatus.QUEUED, RunStatus.RUNNING], pageSize: 1 });
    return open?.runs.length === 0 && !(await hasWorkLeft(stores)) ? seen : undefined;
  };
  const timeoutMs = 2 * settlingLeases * leaseTtlMs;
  // What is wrong when it does not become quiet is for the checker to say, with names.
  const quiet = until(isQuiet, { what: "quiet", timeoutMs, intervalMs: 25 }).catch(look);
  // A client that died ends the wait.
  return Promise.race([quiet, stopping.then(() => quiet)]);
}

async function lookAt({ log: events, nats, postgres }: Stores, urls: readonly string[]) {
  const text = "select position from checkpoints where name = 'projector'";
  const { head } = await events.bounds();
  const [{ state }, { rows }, well] = await Promise.all([
    nats.jsm.streams.info("JOBS"),
    postgres.db.query<{ position: bigint }>({ name: "checkpoint_read", text }),
    Promise.all(urls.map((url) => answers200(`${url}/readyz`))),
  ]);
  return {
    head,
    pendingJobs: state.messages,
    projectedPosition: rows[0]?.position ?? 0n,
    unwell: urls.filter((_, index) => !well[index]),
    quietMs: performance.now(),
    settleTimeMs: Date.now(),
  };
}

/** True while there is a waiting run to wake or a child to end. */
async function hasWorkLeft({ postgres: { db } }: Stores): Promise<boolean> {
  const [waking, untold, left] = await Promise.all([wakingRuns(db, new Date(), 1), untoldEnds(db, 1), orphans(db, 1)]);
  return waking.length + untold.length + left.length > 0;
}

/** Every operation in the history files of the folder. */
export async function readHistories(folder: string): Promise<Operation[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".jsonl"));
  return files.flatMap((name) => readJsonLines<Operation>(join(folder, name)));
}

/** The recordings once they have everything, or as they are after a while. */
async function caughtUp(subscribers: readonly Subscriber[], stored: readonly StoredMessage[]): Promise<Recording[]> {
  const events = decodeLog(stored);
  const recordings = subscribers.map(({ recording }) => recording);
  const complete = () => checkRecordings(events, recordings).length === 0;
  // A follower pauses up to 5 s between two tries. What stays incomplete is for the checker to report.
  await until(complete, { what: "the subscribers", timeoutMs: 15_000, intervalMs: 50 }).catch(() => undefined);
  return recordings;
}
