import { token } from "../eventlog/subjects.ts";

/** Whose output; unset fields keep everything. */
export interface DeltaView {
  readonly workspaceId: string;
  readonly roomId?: string | undefined;
  readonly runId?: string | undefined;
}

/**
 * The subjects of output: `<prefix>.delta.<workspace>.<room or _>.run.<run>` goes into the stream, and comes out again,
 * numbered by it, under `<prefix>.live.…`.
 */
export interface DeltaSubjects {
  /** Where a run's output is published; `roomId` is empty for none. */
  of(run: { readonly workspaceId: string; readonly roomId: string; readonly runId: string }): string;
  /** The filter that finds what the stream keeps of a view. */
  kept(view: DeltaView): string;
  /** The filter that hears a view live. */
  live(view: DeltaView): string;
  /** The filter of everything that goes into the stream. */
  readonly all: string;
  /** The filter of everything that comes out of it. */
  readonly allLive: string;
}

/** Subjects below `prefix`. */
export function createDeltaSubjects(prefix: string): DeltaSubjects {
  const [kept, live] = [`${prefix}.delta`, `${prefix}.live`];
  return {
    all: `${kept}.>`,
    allLive: `${live}.>`,
    of: ({ workspaceId, roomId, runId }) => `${kept}.${tail(workspaceId, roomId === "" ? "_" : roomId, runId)}`,
    kept: ({ workspaceId, roomId, runId }) => `${kept}.${tail(workspaceId, roomId, runId)}`,
    live: ({ workspaceId, roomId, runId }) => `${live}.${tail(workspaceId, roomId, runId)}`,
  };
}

function tail(workspaceId: string, roomId: string | undefined, runId: string | undefined): string {
  return `${token(workspaceId)}.${roomId ? token(roomId) : "*"}.run.${runId ? token(runId) : "*"}`;
}
