import type { ArtifactCreated } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Aggregates, Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import type { AddedArtifact } from "../runs/commands.ts";
import { createArtifact } from "./decider.ts";
import type { ArtifactState } from "./state.ts";

/** An artifact without a run. */
export interface LoneArtifact {
  readonly artifactId: string;
  readonly artifact: ArtifactCreated;
  /** Empty for none. */
  readonly roomId: string;
}

/**
 * Begins the streams of artifacts. Each answers the artifact as it is then, when it is there already: REQUEST_ID_REUSED when
 * that is another one.
 */
export interface Copies {
  /** From what its run has recorded: in the run's room, caused by the run's event. */
  ofRun(call: Omit<Call, "signal">, added: AddedArtifact): Promise<Loaded<ArtifactState>>;
  /** Of an artifact without a run. */
  alone(call: Omit<Call, "signal">, lone: LoneArtifact): Promise<Loaded<ArtifactState>>;
}

/** The streams of a log. */
export function createCopies(aggregates: Aggregates<ArtifactState>): Copies {
  return {
    ofRun(call, { artifactId, artifact, record: { event } }) {
      const { roomId, zone, eventId } = event;
      return aggregates.execute({
        call,
        id: artifactId,
        // Whoever stored it and the reactor may both be at it.
        creation: { roomId, repeatable: true },
        causationId: eventId,
        decide: (state) => createArtifact(state, { artifactId, artifact, zone }),
      });
    },
    alone: (call, { artifactId, artifact, roomId }) =>
      aggregates.execute({
        call,
        id: artifactId,
        creation: { roomId, repeatable: true },
        decide: (state) => createArtifact(state, { artifactId, artifact, zone: Zone.SANDBOX }),
      }),
  };
}
