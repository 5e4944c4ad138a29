/** What an installation lets artifacts be. */
export interface ArtifactLimits {
  /** Files of one run; outputs of steps do not count. */
  readonly maxRunArtifacts: number;
  /** All artifacts of one run together. */
  readonly maxRunBytes: number;
  /** The size of one artifact. */
  readonly maxArtifactBytes: number;
  /** All artifacts of a workspace together, until they are purged. */
  readonly maxWorkspaceBytes: number;
  /** How long bytes are kept at most, and by default. */
  readonly retentionMs: number;
  /** How long a deleted or expired artifact can be restored. */
  readonly graceMs: number;
}

/** The limits of an installation that says nothing. */
export const defaultArtifactLimits: ArtifactLimits = {
  maxArtifactBytes: 100 * 1024 * 1024,
  maxRunArtifacts: 50,
  maxRunBytes: 1024 ** 3,
  maxWorkspaceBytes: 100 * 1024 ** 3,
  retentionMs: 7 * 24 * 60 * 60_000,
  graceMs: 24 * 60 * 60_000,
};
