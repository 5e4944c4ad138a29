import { toBinary } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ListWorkersRequest, ReportWorkerRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { type Worker, WorkerSchema, WorkerStatus } from "../../gen/signalbox/v1/worker_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { readNamePage } from "../readmodel/page.ts";
import type { Registry } from "./registry.ts";

/** Who works for a workspace. Every function throws the errors that engine_service.proto names. */
export interface Workers {
  /** PAYLOAD_TOO_LARGE beyond 16 KiB, QUOTA_EXCEEDED for a new worker of a workspace that has 5,000. */
  report(call: Call, request: ReportWorkerRequest): Promise<object>;
  list(call: Call, request: ListWorkersRequest): { workers: Worker[]; nextPageToken: string };
}

/** What workers need. */
export interface WorkersDeps {
  readonly registry: Registry;
  readonly clock: Clock;
}

const silentMs = 45_000;
/** Everything here is kept in the memory of every server, so there is an end to it. */
const maxWorkers = 5_000;
const maxReportBytes = 16 * 1024;
/** An id has to fit into a page token. */
const maxIdBytes = 700;

/** Workers of all workspaces. */
export function createWorkers({ registry, clock }: WorkersDeps): Workers {
  return {
    async report({ workspaceId }, { worker }) {
      if (worker === undefined) return {};
      const { workerId, status } = worker;
      requireSize("worker_id", Buffer.byteLength(workerId), maxIdBytes);
      requireSize("worker", toBinary(WorkerSchema, worker).length, maxReportBytes);
      const known = registry.of(workspaceId);
      if (known.size >= maxWorkers && !known.has(workerId)) {
        const message = `${maxWorkers} workers have reported within 10 minutes, which is the most; give a restarted one its worker_id again`;
        throw new SignalboxError("QUOTA_EXCEEDED", message, { limit: String(maxWorkers) });
      }
      await registry.put(workspaceId, {
        ...worker,
        status: status === WorkerStatus.DRAINING ? status : WorkerStatus.ACTIVE,
        lastSeenTime: timestampFromDate(clock.now()),
      });
      return {};
    },
    list({ workspaceId }, { pageSize, pageToken }) {
      const page = readNamePage("workers", [workspaceId], pageSize, pageToken);
      const { after } = page;
      const sorted = [...registry.of(workspaceId).values()].toSorted((a, b) => (a.workerId < b.workerId ? -1 : 1));
      const rest = after === undefined ? sorted : sorted.filter(({ workerId }) => workerId > after);
      const nowMs = clock.now().getTime();
      const workers = rest.slice(0, page.size).map((worker) => asSeen(worker, nowMs));
      const last = rest.length > page.size ? workers.at(-1) : undefined;
      return { workers, nextPageToken: last === undefined ? "" : page.tokenAfter(last.workerId) };
    },
  };
}

function asSeen(worker: Worker, nowMs: number): Worker {
  const { lastSeenTime } = worker;
  const isSilent = lastSeenTime === undefined || nowMs - timestampMs(lastSeenTime) >= silentMs;
  return isSilent ? { ...worker, status: WorkerStatus.SILENT } : worker;
}

function requireSize(what: string, size: number, limit: number): void {
  if (size <= limit) return;
  throw new SignalboxError("PAYLOAD_TOO_LARGE", `${what} has ${size} bytes of at most ${limit}; report less of it`, {
    limit: String(limit),
    size: String(size),
  });
}
