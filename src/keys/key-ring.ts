/** The key of one artifact's bytes, fresh or as it was. */
export interface DataKey {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** The workspace key that wraps it now; empty when only its recipient can open it. */
  readonly keyId: string;
}

/** What is left of an artifact's key. */
export type KeyLookup =
  | ({ readonly state: "open" } & DataKey)
  /** Only the recipient can open it: an age file. */
  | { readonly state: "sealed"; readonly recipient: string; readonly wrappedKey: Uint8Array }
  /** Destroyed on purpose: its own, or its workspace's. */
  | { readonly state: "destroyed" }
  /** There is none, though nobody destroyed it. */
  | { readonly state: "missing" };

/** A key as a listing shows it. */
export interface StoredKey {
  readonly workspaceId: string;
  readonly artifactId: string;
  /** When it was issued last, to the hour. */
  readonly createTime: Date;
}

/**
 * The keys of artifacts: one data key each, wrapped by a key of its workspace, wrapped by the installation's root key. What is
 * destroyed is gone on every server at once: nothing is opened without a look at the shared store. STORE_UNAVAILABLE.
 */
export interface KeyRing {
  /**
   * The key for an artifact's bytes; a second call, from whatever server, answers the same one. With a recipient the key is
   * wrapped to them as well: INVALID_REQUEST when that is no age recipient, REQUEST_ID_REUSED when the key was issued for another.
   */
  issue(workspaceId: string, artifactId: string, recipient?: string): Promise<DataKey>;
  /**
   * Forgets the server's own copy of a key that is wrapped to a recipient, for ever; twice is fine, and renews its time. To be called before
   * the artifact is recorded. From here on `issue` answers INVALID_STATE.
   */
  seal(workspaceId: string, artifactId: string): Promise<void>;
  /** The key of an artifact. */
  open(workspaceId: string, artifactId: string): Promise<KeyLookup>;
  /**
   * Destroys the key of an artifact for ever. Twice is fine; a key that is issued afterwards is a new one. With a time, a key that was
   * issued since stays: whoever is issued it at the same moment keeps it, or gets a new one.
   */
  destroy(workspaceId: string, artifactId: string, issuedUpTo?: Date): Promise<void>;
  /** Every data key that is there, its own destruction apart, in any order; one may come twice when it changes meanwhile. */
  list(signal?: AbortSignal): AsyncIterable<StoredKey>;
}
