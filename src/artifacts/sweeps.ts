import type { Logger } from "pino";
import { ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Aggregates, Draft } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import type { IdSource } from "../kernel/ids.ts";
import { signalbox } from "../kernel/principal.ts";
import type { Db } from "../readmodel/postgres.ts";
import type { RunSide } from "../runs/commands.ts";
import type { Copies } from "./copies.ts";
import { expireArtifact, purgeArtifact } from "./decider.ts";
import { destroyArtifact, type DestructionDeps } from "./destruction.ts";
import { type DueArtifact, expiringArtifacts, goingArtifacts, pendingArtifacts } from "./queries.ts";
import type { ArtifactState } from "./state.ts";

/** What becomes of artifacts by themselves. All of it is found in the tables, and doing it again changes nothing. */
export interface Sweeps {
  /** Begins the streams of artifacts that only their runs have recorded. */
  heal(signal: AbortSignal): Promise<void>;
  /** Records that artifacts have expired. */
  expire(signal: AbortSignal): Promise<void>;
  /** Records that artifacts can not be restored any more, and destroys their keys and bytes. */
  purge(signal: AbortSignal): Promise<void>;
  /** Destroys the key and the bytes of an artifact that is purged; nothing when it is not. */
  destroy(workspaceId: string, artifactId: string): Promise<void>;
}

/** What sweeps need. */
export interface SweepsDeps extends DestructionDeps {
  readonly aggregates: Aggregates<ArtifactState>;
  readonly copies: Copies;
  readonly runs: Pick<RunSide, "find" | "isOpen">;
  readonly db: Db;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly graceMs: number;
  readonly log: Logger;
}

const pageSize = 500;

/** The sweeps of an installation. */
export function createSweeps(deps: SweepsDeps): Sweeps {
  const { aggregates, copies, runs, db, clock, ids, graceMs, log } = deps;

  function systemCall(workspaceId: string): Omit<Call, "signal"> {
    return { workspaceId, principal: signalbox, correlationId: ids.next("corr"), traceparent: "" };
  }

  function execute({ workspaceId, artifactId }: DueArtifact, decide: (state: ArtifactState) => Draft | undefined) {
    return aggregates.execute({ call: systemCall(workspaceId), id: artifactId, decide });
  }

  /** One that can not be dealt with must not keep the others waiting. */
  async function each<T extends object>(items: readonly T[], act: (item: T) => Promise<void>, signal: AbortSignal) {
    for (const item of items) {
      if (signal.aborted) return;
      await act(item).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error, item }, "artifact not swept, repeating later");
      });
    }
  }

  async function expireOne(due: DueArtifact): Promise<void> {
    const { state } = await aggregates.load(due.workspaceId, due.artifactId);
    if (state.status !== "available") return;
    const { purpose, runId } = state.artifact;
    if (purpose === ArtifactPurpose.STEP_OUTPUT && (await runs.isOpen(due.workspaceId, runId))) return;
    await execute(due, (before) => expireArtifact(before, clock.now(), graceMs));
  }

  async function destroy(workspaceId: string, artifactId: string): Promise<void> {
    const { state } = await aggregates.load(workspaceId, artifactId);
    if (state.status === "purged") await destroyArtifact(deps, state);
  }

  return {
    async heal(signal) {
      const pending = await pendingArtifacts(db, pageSize);
      const healOne = async ({ workspaceId, added: { artifactId, artifact } }: (typeof pending)[number]) => {
        const added = await runs.find(workspaceId, artifact?.runId ?? "", artifactId);
        if (added !== undefined) await copies.ofRun(systemCall(workspaceId), added);
      };
      await each(pending, healOne, signal);
    },
    expire: async (signal) => each(await expiringArtifacts(db, clock.now(), pageSize), expireOne, signal),
    async purge(signal) {
      const going = await goingArtifacts(db, clock.now(), pageSize);
      const purgeOne = async (due: DueArtifact) => {
        const { state } = await execute(due, (before) => purgeArtifact(before, clock.now()));
        if (state.status === "purged") await destroyArtifact(deps, state);
      };
      await each(going, purgeOne, signal);
    },
    destroy,
  };
}
