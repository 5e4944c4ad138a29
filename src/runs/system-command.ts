import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Aggregates, Draft, Loaded } from "../eventlog/aggregates.ts";
import type { IdSource } from "../kernel/ids.ts";
import { signalbox } from "../kernel/principal.ts";
import type { RunState } from "./state.ts";

/**
 * A command to a run that nobody gave: Signalbox does by itself. `cause` is the event that it follows from, if it does.
 * Returns the run as it is then.
 */
export type SystemCommand = (
  workspaceId: string,
  runId: string,
  decide: (state: RunState) => Draft | undefined,
  cause?: Event,
) => Promise<Loaded<RunState>>;

/** Commands in the name of Signalbox. */
export function createSystemCommand(aggregates: Aggregates<RunState>, ids: IdSource): SystemCommand {
  return (workspaceId, id, decide, cause) =>
    aggregates.execute({
      call: {
        workspaceId,
        principal: signalbox,
        correlationId: cause?.correlationId ?? ids.next("corr"),
        traceparent: cause?.traceparent ?? "",
      },
      id,
      decide,
      ...(cause === undefined ? {} : { causationId: cause.eventId }),
    });
}
