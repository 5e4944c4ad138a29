import { fromBinary } from "@bufbuild/protobuf";
import { EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import { type JetStreamStoreOptions, openJetStreamStore as open } from "../../../src/eventlog/jetstream-store.ts";
import type { LogStore } from "../../../src/eventlog/log-store.ts";

// Stands in for src/eventlog/jetstream-store.ts in a server that is to die: people-server.ts sees to that.

/** Where a server dies: right before an event of the type is sent to the log, or once the log has it and nobody knows. */
export interface Failpoint {
  readonly when: "before" | "after";
  readonly type: string;
  /** Only this workspace's events count. */
  readonly workspaceId: string;
  /** The how many-th such event it is, from 1. */
  readonly occurrence: number;
}

/**
 * The log in JetStream. The process is killed at the failpoint that FAILPOINT names, as JSON.
 * @public
 */
export async function openJetStreamStore(options: JetStreamStoreOptions): Promise<LogStore> {
  const store = await open(options);
  const text = process.env["FAILPOINT"];
  return text === undefined ? store : failing(store, JSON.parse(text) as Failpoint);
}

function failing(store: LogStore, { when, type, workspaceId, occurrence }: Failpoint): LogStore {
  let left = occurrence;
  return {
    ...store,
    async publish(publication) {
      const event = fromBinary(EventSchema, publication.body);
      const isMeant = event.type === type && event.workspaceId === workspaceId;
      if (isMeant && when === "before") await countDown();
      const outcome = await store.publish(publication);
      if (isMeant && when === "after" && outcome.status === "stored") await countDown();
      return outcome;
    },
  };

  /** Does not return once it is zero. */
  async function countDown(): Promise<void> {
    left--;
    if (left > 0) return;
    process.kill(process.pid, "SIGKILL");
    await new Promise(() => {});
  }
}
