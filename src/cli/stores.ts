import type { Logger } from "pino";
import { createEventLog, type EventLog } from "../eventlog/event-log.ts";
import { openJetStreamStore } from "../eventlog/jetstream-store.ts";
import { type Nats, openNats } from "../eventlog/nats.ts";
import { createSubjects } from "../eventlog/subjects.ts";
import { liveSchema, openPostgres, type Postgres } from "../readmodel/postgres.ts";

/** Where the stores are and what they are called. */
export interface StoreOptions {
  readonly natsUrl: string;
  readonly databaseUrl: string;
  /** Copies of the log: 3 for durability `replicated`, else 1. */
  readonly replicas: number;
  /** The first token of every subject; default `sb`. Tests take one of their own. */
  readonly prefix?: string;
  /** The schema of the read models; default `signalbox`. */
  readonly schema?: string;
  readonly log: Logger;
}

/** The stores of an installation, connected. Disposing it closes the connections. */
export interface Stores extends AsyncDisposable {
  readonly nats: Nats;
  readonly postgres: Postgres;
  readonly log: EventLog;
  readonly schema: string;
  readonly prefix: string;
}

/** Connects to the stores and creates or checks the log. Whoever queries the read models migrates them first. */
export async function openStores(options: StoreOptions): Promise<Stores> {
  const { prefix = "sb", schema = liveSchema, replicas, log } = options;
  await using opening = new AsyncDisposableStack();
  const nats = opening.use(await openNats({ url: options.natsUrl, name: "signalbox", log }));
  const subjects = createSubjects(prefix);
  const stream = streamName("EVENTS", prefix);
  const store = opening.use(await openJetStreamStore({ nats, stream, allSubjects: subjects.all, replicas, log }));
  const postgres = opening.use(openPostgres({ url: options.databaseUrl, schema, log }));
  const open = opening.move();
  return {
    nats,
    postgres,
    log: createEventLog(store, subjects),
    schema,
    prefix,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** The installation's own streams carry the plain names; others add their prefix. */
export function streamName(name: string, prefix: string): string {
  return prefix === "sb" ? name : `${name}_${prefix}`;
}
