import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import { hasReason, type Reason, SignalboxError } from "../kernel/errors.ts";
import { onBehalfOf, signalbox } from "../kernel/principal.ts";
import type { Outcome } from "./firing.ts";

/** A run and where the log stood after the command. */
export interface RunAt {
  readonly run: Run;
  readonly position: bigint;
}

/** What schedules ask of runs. */
export interface ScheduledRuns {
  /** CreateRun, as run_service.proto has it. */
  create(call: Call, request: CreateRunRequest): Promise<RunAt>;
  /** The run that a CreateRun with this request_id has created, as it is now; undefined when none has. */
  createdBy(workspaceId: string, requestId: string): Promise<Run | undefined>;
}

/** Refusals that may be over at the next try. */
const passing: ReadonlySet<Reason> = new Set(["STORE_UNAVAILABLE", "CONTENTION", "READ_MODEL_BEHIND", "DRAINING"]);

/** Creates the run, or finds the one that this request_id has created with another body: the template has changed since. */
export async function createOnce(runs: ScheduledRuns, call: Call, request: CreateRunRequest): Promise<RunAt> {
  try {
    return await runs.create(call, request);
  } catch (error) {
    if (!hasReason(error, "REQUEST_ID_REUSED")) throw error;
    const run = await runs.createdBy(call.workspaceId, request.requestId);
    if (run === undefined) throw error;
    return { run, position: run.position };
  }
}

/**
 * Creates the run of a firing. A refusal is an outcome too. What may be over soon is thrown, to be tried again: then it
 * is not known whether there is a run, and with the same request_id there will be one.
 */
export async function attempt(runs: ScheduledRuns, call: Call, request: CreateRunRequest): Promise<Outcome> {
  try {
    const { run } = await createOnce(runs, call, request);
    return { runId: run.runId };
  } catch (error) {
    if (!(error instanceof SignalboxError) || passing.has(error.reason)) throw error;
    return { error: `${error.reason}: ${error.message}` };
  }
}

/** Signalbox itself, on behalf of whoever created the schedule. */
export function actingFor(creator: Principal | undefined): Principal {
  return onBehalfOf(signalbox, creator === undefined ? [] : [creator]);
}
