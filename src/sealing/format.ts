import { hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { SealBrokenError } from "./seal-broken-error.ts";

/**
 * The name of the format, as events record it. The construction is that of c2sp.org/chunked-encryption, with AES-256-GCM, chunks of
 * 64 KiB instead of 16 (a chunk costs a call, and artifacts are large) and a version byte in front:
 *
 *     sealed = version (1) ‖ salt (32) ‖ commitment (32) ‖ chunk 0 ‖ chunk 1 ‖ … ‖ last chunk
 *     key (32) ‖ base nonce (12) ‖ commitment (32) = HKDF-SHA-256(data key, salt, info = scheme ‖ 0x00 ‖ context)
 *     chunk i = AES-256-GCM(key, nonce = base nonce XOR i, 64 KiB of the bytes) ‖ tag (16)
 *
 * The last chunk is always shorter than 64 KiB, and may be empty: that is what makes an end an end. No nonce is used twice under a
 * key, because the key itself is new with every salt.
 */
export const sealingScheme = "signalbox-sealed-v1";

/** Plain bytes of every chunk but the last. */
export const chunkBytes = 65_536;
/** Bytes of the tag behind each chunk. */
export const tagBytes = 16;
/** Bytes of the data key. */
const keyBytes = 32;

const version = 1;
const saltBytes = 32;
const nonceBytes = 12;
const commitmentBytes = 32;
/** Bytes before the first chunk. */
export const headerBytes = 1 + saltBytes + commitmentBytes;

/** What bytes are sealed with. */
export interface SealKey {
  /** The data key, 32 random bytes. It may seal any number of things. */
  readonly key: Uint8Array;
  /** What the bytes are, for example the name they are stored under. They open under the same context only. */
  readonly context: string;
}

/** What the chunks of one sealed thing are encrypted with. */
export interface ChunkKey {
  readonly key: Uint8Array;
  readonly baseNonce: Buffer;
}

/** How many bytes come out of sealing so many. */
export function sealedSize(plainSize: number): number {
  return chunkOffset(lastChunk(plainSize)) + (plainSize % chunkBytes) + tagBytes;
}

/** The index of the last chunk of so many plain bytes. */
export function lastChunk(plainSize: number): number {
  return Math.floor(plainSize / chunkBytes);
}

/** Where a chunk begins in the sealed bytes. */
export function chunkOffset(index: number): number {
  return headerBytes + index * (chunkBytes + tagBytes);
}

/** A header with a fresh salt, and the key of the chunks behind it. */
export function newHeader(sealKey: SealKey): { header: Uint8Array; chunkKey: ChunkKey } {
  const salt = randomBytes(saltBytes);
  const { chunkKey, commitment } = derive(sealKey, salt);
  return { header: Buffer.concat([Buffer.of(version), salt, commitment]), chunkKey };
}

/** The key of the chunks behind a header. Throws SealBrokenError when it is damaged, or was made with another key or context. */
export function readHeader(sealKey: SealKey, header: Buffer): ChunkKey {
  if (header[0] !== version) throw new SealBrokenError(`the header has version ${header[0]}, not ${version}`);
  const { chunkKey, commitment } = derive(sealKey, header.subarray(1, 1 + saltBytes));
  if (timingSafeEqual(commitment, header.subarray(1 + saltBytes))) return chunkKey;
  throw new SealBrokenError("the header is damaged, or it was sealed with another key or as something else");
}

/** The nonce of a chunk. Throws RangeError beyond 2^32 chunks (256 TiB). */
export function chunkNonce({ baseNonce }: ChunkKey, index: number): Buffer {
  if (index >= 2 ** 32) throw new RangeError("there is no chunk beyond 256 TiB");
  const nonce = Buffer.from(baseNonce);
  nonce.writeUInt32BE((nonce.readUInt32BE(nonceBytes - 4) ^ index) >>> 0, nonceBytes - 4);
  return nonce;
}

function derive({ key, context }: SealKey, salt: Uint8Array): { chunkKey: ChunkKey; commitment: Buffer } {
  if (key.length !== keyBytes) throw new RangeError(`a data key has ${keyBytes} bytes, not ${key.length}`);
  const info = `${sealingScheme}\0${context}`;
  const bytes = Buffer.from(hkdfSync("sha256", key, salt, info, keyBytes + nonceBytes + commitmentBytes));
  return {
    chunkKey: { key: bytes.subarray(0, keyBytes), baseNonce: bytes.subarray(keyBytes, keyBytes + nonceBytes) },
    commitment: bytes.subarray(keyBytes + nonceBytes),
  };
}
