import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { openJetStreamKeyStore } from "../keys/jetstream-key-store.ts";
import { createKeyJournal } from "../keys/journal.ts";
import { createKeys, type Keys } from "../keys/keys.ts";
import { hasNamedRoot, namedRoot } from "../keys/root-rotation.ts";
import type { RootKeys } from "../keys/root-key.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { openRootKeys, type RootKeySettings } from "./root-keys.ts";
import { type Stores, streamName } from "./stores.ts";

/** Where keys are kept, and what wraps them. */
export interface OpenKeysOptions {
  readonly stores: Pick<Stores, "nats" | "log" | "prefix">;
  readonly settings: RootKeySettings;
  /** Copies in the cluster, as of the log. */
  readonly replicas: number;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** What a root key command sees. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * The keys of the installation. Creates the stream KEYS, or checks it. Throws a CliError when the root key can not be used, or is not
 * the one that wraps the installation's keys.
 */
export async function openKeys({ stores, settings, replicas, clock, ids, env }: OpenKeysOptions): Promise<Keys> {
  const { nats, log, prefix } = stores;
  const store = await openJetStreamKeyStore({ nats, stream: streamName("KEYS", prefix), prefix, replicas });
  const rootKeys = await openRootKeys(settings, { env, mayCreate: !(await hasNamedRoot(store)) });
  requireRoot(rootKeys, await namedRoot({ store, rootKeys }));
  return createKeys({ store, rootKeys, journal: createKeyJournal({ log, clock, ids }), clock, ids });
}

function requireRoot({ current, old }: RootKeys, rootId: string): void {
  if ([current, ...old].some(({ id }) => id === rootId)) return;
  const hint =
    "Give every process of the installation the same SIGNALBOX_ROOT_KEY, _FILE or _COMMAND, or put root.key back from its backup. " +
    "To change it, set the one before as SIGNALBOX_ROOT_KEY_OLD and run `signalbox keys rotate --root`.";
  const message = `the keys of this installation are wrapped by root key ${rootId}, not by ${current.id}`;
  throw new CliError(message, hint, exitCodes.failed);
}
