/** Which kind of store keeps the bytes. */
export type BlobStoreKind = "filesystem" | "nats" | "s3" | "memory";

/** A part of a blob: its bytes from `from` up to, not including, `to`. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** A blob as a listing shows it. */
export interface StoredBlob {
  readonly name: string;
  /** As stored, in bytes. */
  readonly sizeBytes: number;
  /** When it was stored, by the store's clock. */
  readonly storeTime: Date;
}

/**
 * Where sealed bytes are kept, under names that are never used twice: tokens of letters, digits, `_` and `-` with slashes
 * between (`ws_dev/art_…/…`), made by us and never by a caller. Every store behaves the same. Trouble of the store itself
 * comes out as STORE_UNAVAILABLE.
 */
export interface BlobStore extends AsyncDisposable {
  readonly kind: BlobStoreKind;
  /**
   * Stores a blob. When it resolves, the bytes survive a power cut; when `bytes` throws, the signal aborts or the process
   * dies, nothing is there under the name. Takes no more memory for a large blob than for a small one, and looks at a piece no
   * more once it has asked for the next one.
   */
  put(name: string, bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /**
   * The bytes of a part of a blob, in pieces, each good until the next one is asked for: whoever keeps one copies it. Reads no
   * further ahead than its reader. Throws BlobMissingError.
   */
  read(name: string, range: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Removes a blob; one that is not there is fine. */
  remove(name: string): Promise<void>;
  /** Every blob that is there, in any order. What is stored or removed meanwhile may be in it or not. */
  list(signal?: AbortSignal): AsyncIterable<StoredBlob>;
}

/** There is no blob of that name, or it ends before the range does. Thrown before the first piece wherever that can be known. */
export class BlobMissingError extends Error {
  override readonly name = "BlobMissingError";
}
