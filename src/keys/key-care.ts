import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";

/** How to follow a long piece of work. */
export interface RotationOptions {
  readonly signal?: AbortSignal;
  /** Called after each key with how many have been wrapped anew. */
  readonly onProgress?: (rewrapped: number) => void;
}

/** What a rotation did. */
export interface Rotation {
  readonly workspaceId: string;
  /** The key that wraps now. */
  readonly keyId: string;
  /** Keys of artifacts that were wrapped anew. */
  readonly rewrapped: number;
  /** True when it went on with one that was not finished. */
  readonly resumed: boolean;
}

/** The keys of a workspace as an operator sees them. */
export interface WorkspaceKeysDescription {
  readonly workspaceId: string;
  /** Oldest first, the current one last; more than one while a rotation is not finished. Empty when they were destroyed. */
  readonly keys: readonly { readonly keyId: string; readonly createTime: Date; readonly rootId: string }[];
  readonly retired: readonly string[];
  readonly destroyed: readonly string[];
}

/** The care that keys need. All of it can be stopped at any point and done again; servers keep working meanwhile. */
export interface KeyCare {
  /** Every workspace that has or had keys. */
  workspaces(signal?: AbortSignal): AsyncIterable<WorkspaceKeysDescription>;
  /** How many keys of artifacts a workspace has. */
  count(workspaceId: string, signal?: AbortSignal): Promise<number>;
  /** Gives a workspace a new key, or goes on with a rotation that is not finished, and wraps the keys of its artifacts by it. */
  rotateWorkspace(workspaceId: string, options?: RotationOptions): Promise<Rotation>;
  /** Wraps the keys of every workspace by the current root key. Returns how many keys were not yet. */
  rotateRoot(options?: RotationOptions): Promise<number>;
  /**
   * Destroys the keys of a workspace for ever, and with them everything they wrap. Returns their ids, empty when there are none any
   * more. What the workspace stores afterwards gets a new key.
   */
  destroyWorkspace(workspaceId: string, order: DestroyOrder): Promise<string[]>;
}

/** Why keys are destroyed, and who wants it. */
export interface DestroyOrder {
  readonly reason: string;
  readonly by: Principal;
}
