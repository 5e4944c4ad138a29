/** One record of keys, as it is stored. */
export interface KeyEntry {
  /** Tokens with dots between. */
  readonly name: string;
  readonly value: Uint8Array;
  /** Grows with every write to the store. */
  readonly revision: number;
}

/**
 * Where wrapped keys are kept: small records under names, apart from the event log, because what is here can be destroyed. Reads
 * are confirmed by the store's leader; a write is durable when it resolves, and of two writes on the same revision one wins. Trouble
 * of the store itself comes out as STORE_UNAVAILABLE; whether a write was done then is not known.
 */
export interface KeyStore {
  /** The newest version of a record. */
  get(name: string): Promise<KeyEntry | undefined>;
  /** Stores a record; undefined when there is one of that name. */
  create(name: string, value: Uint8Array): Promise<KeyEntry | undefined>;
  /** Replaces a record and overwrites its earlier versions where they lie; undefined when it is not of that revision any more. */
  update(name: string, value: Uint8Array, revision: number): Promise<KeyEntry | undefined>;
  /**
   * Overwrites every version of a record where it lies, with a revision only those up to it: what was written since stays. One that is
   * not there is fine.
   */
  remove(name: string, revision?: number): Promise<void>;
  /**
   * The records whose names begin with these tokens, oldest write first. Each that is there when this begins comes, and what is written
   * while it goes comes as well, again if need be. After a crash in the middle of a write an earlier version may come first.
   */
  entries(prefix: string, signal?: AbortSignal): AsyncIterable<KeyEntry>;
}
