import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { type EventRecord, genesisHash } from "../eventlog/record.ts";
import { artifactPath } from "./format.ts";

/** A run after one more event of its stream; undefined until it is created. Pure. */
export type EvolveRun = (run: Run | undefined, event: Event) => Run | undefined;

/** An artifact as the run's stream says. */
export interface AddedArtifact {
  readonly artifactId: string;
  readonly name: string;
  readonly contentType: string;
  readonly sizeBytes: bigint;
  /** In lower-case hex. */
  readonly sha256: string;
  /** True when only its recipient can open the bytes. */
  readonly isSealed: boolean;
  /** Where the bundle has its bytes. */
  readonly path: string;
}

/** What the events of a run's stream come to. */
export interface Course {
  /** Undefined before the first event. */
  readonly run: Run | undefined;
  readonly eventCount: number;
  /** Of the last event; 0 before the first. */
  readonly headPosition: bigint;
  /** Of the last event; 32 zero bytes before the first. */
  readonly headHash: Uint8Array;
  /** In the order in which they were added. */
  readonly artifacts: readonly AddedArtifact[];
  /** Takes the next event. */
  take(record: EventRecord): void;
}

/** A course without events. */
export function createCourse(evolve: EvolveRun): Course {
  const artifacts: AddedArtifact[] = [];
  let run: Run | undefined;
  let eventCount = 0;
  let headPosition = 0n;
  let headHash = genesisHash;
  return {
    get run() {
      return run;
    },
    get eventCount() {
      return eventCount;
    },
    get headPosition() {
      return headPosition;
    },
    get headHash() {
      return headHash;
    },
    artifacts,
    take({ event, position, hash }) {
      run = evolve(run, event);
      eventCount++;
      headPosition = position;
      headHash = hash;
      const added = addedArtifact(event);
      if (added !== undefined) artifacts.push(added);
    },
  };
}

function addedArtifact({ payload }: Event): AddedArtifact | undefined {
  if (payload.case !== "runArtifactAdded" || payload.value.artifact === undefined) return undefined;
  const { artifactId, artifact } = payload.value;
  const { name, contentType, sizeBytes, sha256, encryption } = artifact;
  const isSealed = (encryption?.recipient ?? "") !== "";
  return { artifactId, name, contentType, sizeBytes, sha256, isSealed, path: artifactPath(artifactId, name) };
}
