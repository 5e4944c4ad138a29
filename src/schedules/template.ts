import type { CreateRunRequest } from "../../gen/signalbox/v1/run_service_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** The label of a scheduled run that names its schedule. */
export const scheduleLabel = "schedule";

/** As many labels as the contract lets a run have. */
const maxLabels = 32;

/** The run to create at each firing, labelled with the schedule. INVALID_REQUEST when there is none that can be. */
export function templateOf(run: CreateRunRequest | undefined, scheduleId: string): CreateRunRequest {
  if (run === undefined)
    throw new SignalboxError("INVALID_REQUEST", "run is missing: say what each run is created with");
  if (run.requestId !== "") {
    throw new SignalboxError(
      "INVALID_REQUEST",
      "run.request_id is set: leave it empty, each firing has one of its own",
    );
  }
  const labels = { ...run.labels, [scheduleLabel]: scheduleId };
  if (Object.keys(labels).length > maxLabels) {
    throw new SignalboxError(
      "INVALID_REQUEST",
      `run.labels has ${maxLabels} labels already: leave room for the label ${scheduleLabel}, which names the schedule`,
    );
  }
  return { ...run, labels };
}
