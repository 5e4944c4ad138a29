import { AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Role } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { Attempts, Wish } from "./attempts.ts";
import { dependsOnRoles, type Guarded, rightToRead } from "./rights.ts";

/** Who gets an artifact's bytes. Whatever it answers is in the access log before it answers. */
export interface Access<Known extends Guarded> {
  /**
   * The artifact, when the caller may read its bytes now: its creator, who created its run, a grantee, or anybody of the workspace where
   * it says so. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED, RATE_LIMITED.
   */
  require(call: Call, wish: Wish): Promise<Known>;
}

/** What is on record of artifacts, confirmed by the log's leader. */
export interface Shelf<Known extends Guarded> {
  /** The artifact; undefined when there is none of that id in the workspace. */
  find(workspaceId: string, artifactId: string): Promise<Known | undefined>;
  /** ARTIFACT_NOT_FOUND: unknown ids and ids of another tenant look the same. */
  missing(artifactId: string): SignalboxError;
  /** ARTIFACT_EXPIRED, when its bytes can not be read any more; undefined while they can. */
  gone(known: Known, now: Date): SignalboxError | undefined;
}

/** What access needs. */
export interface AccessDeps<Known extends Guarded> {
  readonly shelf: Shelf<Known>;
  readonly attempts: Attempts;
  /** The roles of a workspace's policy as it is now. */
  readonly rolesOf: (workspaceId: string) => Promise<readonly Role[]>;
  readonly clock: Clock;
}

/** Access by name, as the API knows callers. */
export function createAccess<Known extends Guarded>(deps: AccessDeps<Known>): Access<Known> {
  const { shelf, attempts, clock } = deps;
  return {
    async require(call, wish) {
      const { workspaceId, principal } = call;
      const attempt = await attempts.begin(call, wish);
      const known = await shelf.find(workspaceId, wish.artifactId);
      if (known === undefined) return attempt.refuse(AccessOutcome.NOT_FOUND, shelf.missing(wish.artifactId));
      const { runId } = known.artifact;
      const roles = await rolesFor(deps, workspaceId, known);
      const now = clock.now();
      const gone = shelf.gone(known, now);
      if (gone !== undefined) return attempt.refuse(AccessOutcome.GONE, gone, { runId });
      const basis = rightToRead(known, principal, roles, now);
      if (basis === undefined) return attempt.refuse(AccessOutcome.REFUSED, notYours(wish.artifactId), { runId });
      await attempt.grant({ basis, runId });
      return known;
    },
  };
}

/** The roles that who may read an artifact depends on; none, and nobody asked, when it depends on none. */
export async function rolesFor<Known extends Guarded>(
  { rolesOf, clock }: Pick<AccessDeps<Known>, "rolesOf" | "clock">,
  workspaceId: string,
  known: Known,
): Promise<readonly Role[]> {
  return dependsOnRoles(known, clock.now()) ? rolesOf(workspaceId) : [];
}

function notYours(artifactId: string): SignalboxError {
  return new SignalboxError(
    "PERMISSION_DENIED",
    `you may not read artifact ${artifactId}; its creator or who created its run can grant it to you`,
    { artifact_id: artifactId },
  );
}
