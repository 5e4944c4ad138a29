import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { RunCreated } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { Candidate } from "./admission.ts";
import type { QueuedRun } from "./queue-queries.ts";
import type { LiveRun } from "./state.ts";

/** A run that was created just now. */
export function newCandidate(event: Event, created: RunCreated): Candidate {
  const { handler, queue, agentId, concurrencyKey, priority } = created;
  return {
    workspaceId: event.workspaceId,
    runId: event.stream?.id ?? "",
    handler,
    queue,
    agentId,
    concurrencyKey,
    priority,
    createTimeMs: event.createTime ? timestampMs(event.createTime) : 0,
    begun: false,
    requeued: false,
    position: event.position,
  };
}

/** A run as its aggregate has it. */
export function candidateOf({ run, requeuePosition }: LiveRun): Candidate {
  const { workspaceId, runId, handler, queue, agentId, concurrencyKey, priority, createTime, attempt, position } = run;
  return {
    workspaceId,
    runId,
    handler,
    queue,
    agentId,
    concurrencyKey,
    priority,
    createTimeMs: createTime ? timestampMs(createTime) : 0,
    begun: attempt > 0,
    requeued: requeuePosition > 0n,
    position,
  };
}

/** A run as its table has it. */
export function listedCandidate(run: QueuedRun): Candidate {
  const { workspaceId, runId, handler, queue, agentId, concurrencyKey, priority } = run;
  return {
    workspaceId,
    runId,
    handler,
    queue,
    agentId,
    concurrencyKey,
    priority,
    createTimeMs: run.createTime.getTime(),
    begun: run.startTime !== undefined,
    requeued: run.startTime !== undefined,
    position: run.position,
  };
}
