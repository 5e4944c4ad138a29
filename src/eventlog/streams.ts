import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos, RequestError } from "@nats-io/transport-node";
import { SignalboxError } from "../kernel/errors.ts";

/** The settings of a stream that we rely on. Everything else is left to the operator. */
export type StreamSettings = Partial<StreamConfig> & { name: string; subjects: string[] };

const streamNotFound = 10059;

/** The stream that is the truth: file storage, kept for ever, nothing deleted. */
export function eventsStream(name: string, allSubjects: string, replicas: number): StreamSettings {
  return {
    name,
    subjects: [allSubjects],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_age: 0,
    max_msgs: -1,
    max_bytes: -1,
    max_msgs_per_subject: -1,
    deny_delete: true,
    deny_purge: true,
    allow_direct: true,
    num_replicas: replicas,
    duplicate_window: nanos(120_000),
  };
}

/**
 * Creates the stream, or checks the one that is there: a setting that differs is an error that names it, because
 * changing it silently could lose what the operator wanted, and ignoring it could lose events.
 */
export async function ensureStream(jsm: JetStreamManager, settings: StreamSettings): Promise<void> {
  const existing = await jsm.streams.info(settings.name).catch((error: unknown) => {
    if (error instanceof JetStreamApiError && error.code === streamNotFound) return undefined;
    throw error;
  });
  // Read back what a new stream became: old servers ignore settings they do not know.
  const { config } = existing ?? (await jsm.streams.add(settings));
  const different = Object.entries(settings).filter(
    ([key, value]) => JSON.stringify(config[key as keyof StreamConfig]) !== JSON.stringify(value),
  );
  if (different.length === 0) return;
  const list = different
    .map(
      ([key, value]) =>
        `${key} is ${JSON.stringify(config[key as keyof StreamConfig])}, needed ${JSON.stringify(value)}`,
    )
    .join("; ");
  throw new SignalboxError(
    "STORE_UNAVAILABLE",
    `the JetStream stream ${settings.name} is configured otherwise than Signalbox needs: ${list}. ` +
      `Change it with \`nats stream edit ${settings.name}\`, or point NATS_URL at another server`,
  );
}

/** True for the error of a request to a stream that is not there: the broker says so, or nobody listens on its subjects. */
export function isStreamGone(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.code === streamNotFound;
  return error instanceof Error && error.cause instanceof RequestError && error.cause.isNoResponders();
}
