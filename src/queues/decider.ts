import { create, equals } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { type Queue, QueueSchema } from "../../gen/signalbox/v1/queue_pb.ts";
import { QueueUpdatedSchema } from "../../gen/signalbox/v1/queue_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { QueueState } from "./state.ts";

/**
 * queue.updated; nothing when the queue has these settings already, whatever its etag, so that a put may be repeated.
 * ETAG_MISMATCH.
 */
export function putQueue(state: QueueState, wanted: Queue): Draft | undefined {
  const queue = settingsOf(wanted);
  const before = state.status === "absent" ? undefined : state.queue;
  if (before !== undefined && equals(QueueSchema, settingsOf(before), queue)) return undefined;
  requireEtag(before?.etag ?? "", wanted);
  return {
    payload: { case: "queueUpdated", value: create(QueueUpdatedSchema, { queue }) },
    zone: Zone.SANDBOX,
  };
}

/** Unknown queues and those of another tenant look the same. */
export function queueNotFound(name: string): SignalboxError {
  return new SignalboxError("QUEUE_NOT_FOUND", `queue ${name} has neither settings nor open runs in this workspace`);
}

function settingsOf({ name, held, maxRunning, maxRunningPerKey, rateLimit }: Queue): Queue {
  return create(QueueSchema, { name, held, maxRunning, maxRunningPerKey, rateLimit });
}

function requireEtag(present: string, { name, etag }: Queue): void {
  if (etag === "" || etag === present) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `queue ${name} has changed since etag ${JSON.stringify(etag)} was read; read it again and repeat the put`,
    { etag: present },
  );
}
