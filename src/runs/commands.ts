import type { ArtifactCreated } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import type { ArtifactSpec } from "../../gen/signalbox/v1/artifact_pb.ts";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Principal, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import type { EventLog } from "../eventlog/event-log.ts";
import type { EventRecord } from "../eventlog/record.ts";
import type { LeaseTicket, LeaseTokens } from "../jobs/lease-token.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { workerOf } from "./acting.ts";
import { addArtifact, requireArtifactRoom, requireOpenRun, type RunArtifactLimits } from "./artifact-decider.ts";
import { isOpen } from "./decider.ts";
import type { LeasedRuns } from "./leased-runs.ts";
import type { LiveRun, RunState } from "./state.ts";

/** The open run that an artifact is to belong to. */
export interface RunPlace {
  readonly runId: string;
  /** Empty for none. */
  readonly roomId: string;
  readonly zone: Zone;
  /** The lease that the caller works under; undefined for everybody but the worker. */
  readonly ticket: LeaseTicket | undefined;
  /** Who adds to it: the caller, for a worker on behalf of the run. */
  readonly addBy: Principal;
  readonly runCreateBy: Principal | undefined;
  /** How many more bytes it may have. */
  readonly leftBytes: number;
}

/** An artifact as its run has it on record. */
export interface AddedArtifact {
  readonly artifactId: string;
  readonly artifact: ArtifactCreated;
  /** The event that says so. */
  readonly record: EventRecord;
}

/** The artifacts of runs, as those reach them who keep artifacts. */
export interface RunSide {
  /**
   * The run that a spec names by run_id or lease_token; empty for none. INVALID_REQUEST when what it says of runs and steps does
   * not fit together.
   */
  runIdOf(workspaceId: string, spec: ArtifactSpec): string;
  /**
   * The run that a spec names, with room for one more artifact; undefined when it names none. RUN_NOT_FOUND, LEASE_LOST,
   * STEP_NOT_FOUND, QUOTA_EXCEEDED, INVALID_STATE when the run has ended, and what `runIdOf` throws.
   */
  place(call: Call, spec: ArtifactSpec): Promise<RunPlace | undefined>;
  /** An artifact as its run has it on record; undefined when it has not. */
  find(workspaceId: string, runId: string, artifactId: string): Promise<AddedArtifact | undefined>;
  /**
   * Records that the run has one more artifact; answers the one that it has under this id already. LEASE_LOST, INVALID_STATE,
   * QUOTA_EXCEEDED.
   */
  add(call: Call, place: RunPlace, artifactId: string, artifact: ArtifactCreated): Promise<AddedArtifact>;
  /** True while the run can still change. */
  isOpen(workspaceId: string, runId: string): Promise<boolean>;
}

/** What the run side needs. */
export interface RunSideDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly leased: LeasedRuns;
  readonly tokens: LeaseTokens;
  readonly log: Pick<EventLog, "next">;
  readonly limits: RunArtifactLimits;
}

/** The artifacts of runs on a log. */
export function createRunSide({ aggregates, leased, tokens, log, limits }: RunSideDeps): RunSide {
  async function addedAt(subject: string, position: bigint): Promise<AddedArtifact> {
    const record = await log.next(subject, position - 1n);
    const added = record?.position === position ? addedIn(record) : undefined;
    if (added === undefined) throw new Error(`no artifact was added to ${subject} at position ${position}`);
    return added;
  }

  /** The lease that a spec names; undefined for none. */
  function ticketOf(workspaceId: string, { leaseToken }: ArtifactSpec): LeaseTicket | undefined {
    return leaseToken === "" ? undefined : tokens.open(leaseToken, workspaceId);
  }

  function runIdOf(workspaceId: string, spec: ArtifactSpec): string {
    requireFitting(spec);
    const ticket = ticketOf(workspaceId, spec);
    if (ticket === undefined || spec.runId === "" || spec.runId === ticket.runId) return ticket?.runId ?? spec.runId;
    throw new SignalboxError(
      "INVALID_REQUEST",
      `lease_token belongs to ${ticket.runId}, not to run_id; leave run_id out`,
    );
  }

  /** The run as it is now, if it takes artifacts. */
  async function loadOpen({ workspaceId }: Call, runId: string, ticket: LeaseTicket | undefined): Promise<LiveRun> {
    if (ticket !== undefined) return (await leased.load(workspaceId, ticket)).state;
    return requireOpenRun((await aggregates.load(workspaceId, runId)).state, { runId, leaseId: "" });
  }

  return {
    runIdOf,
    async place(call, spec) {
      const runId = runIdOf(call.workspaceId, spec);
      if (runId === "") return undefined;
      const { stepId, purpose } = spec;
      const ticket = ticketOf(call.workspaceId, spec);
      const live = await loadOpen(call, runId, ticket);
      if (stepId !== "" && !live.steps.has(stepId)) {
        throw new SignalboxError("STEP_NOT_FOUND", `run ${runId} has no step ${stepId}; start it first`);
      }
      requireArtifactRoom(live, purpose, 0, limits);
      const { run } = live;
      return {
        runId,
        roomId: run.roomId,
        zone: run.zone,
        ticket,
        addBy: ticket === undefined ? call.principal : workerOf(call.principal, run),
        runCreateBy: run.createBy,
        leftBytes: Number(BigInt(limits.maxRunBytes) - live.artifacts.totalBytes),
      };
    },
    async find(workspaceId, runId, artifactId) {
      const { state, subject = "" } = await aggregates.load(workspaceId, runId);
      const head = state.status === "absent" ? undefined : state.artifacts.byId.get(artifactId);
      return head && addedAt(subject, head.position);
    },
    async add(call, { runId, ticket }, artifactId, artifact) {
      const decide = (state: RunState) =>
        addArtifact(state, { artifactId, leaseId: ticket?.leaseId ?? "", artifact }, limits);
      const { state, subject, recorded } =
        ticket === undefined
          ? await aggregates.execute({ call, id: runId, decide })
          : await leased.execute(call, ticket, decide);
      const added = recorded && addedIn(recorded);
      if (added) return added;
      const head = state.status === "absent" ? undefined : state.artifacts.byId.get(artifactId);
      return addedAt(subject ?? "", head?.position ?? 0n);
    },
    async isOpen(workspaceId, runId) {
      return isOpen((await aggregates.load(workspaceId, runId)).state);
    },
  };
}

/** The artifact that an event adds to its run; undefined for every other event. */
function addedIn(record: EventRecord): AddedArtifact | undefined {
  const { payload } = record.event;
  if (payload.case !== "runArtifactAdded" || payload.value.artifact === undefined) return undefined;
  const { artifactId, artifact } = payload.value;
  return { artifactId, artifact, record };
}

/** INVALID_REQUEST when the spec says what only a worker can know. */
function requireFitting({ leaseToken, stepId, purpose }: ArtifactSpec): void {
  if (stepId !== "" && leaseToken === "") {
    throw new SignalboxError("INVALID_REQUEST", "step_id needs the lease_token of the worker that produced it");
  }
  if (purpose === ArtifactPurpose.STEP_OUTPUT && stepId === "") {
    throw new SignalboxError("INVALID_REQUEST", "ARTIFACT_PURPOSE_STEP_OUTPUT needs a lease_token and a step_id");
  }
}
