import { type CipherGCM, createCipheriv } from "node:crypto";
import { type ChunkKey, chunkBytes, chunkNonce, newHeader, type SealKey } from "./format.ts";

/**
 * The sealed form of bytes, `sealedSize` of them, in pieces as node:crypto gives them: the header, each chunk in one piece or in as
 * many as its bytes came in, each tag. They are not put together here, because that copy costs more than the encryption: gather
 * them where they are written. Holds nothing, and asks for more only when its reader does. Sealing the same bytes twice gives
 * different ones.
 */
export async function* seal(
  sealKey: SealKey,
  plain: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { header, chunkKey } = newHeader(sealKey);
  yield header;
  let index = 0;
  let room = chunkBytes;
  let cipher = chunkCipher(chunkKey, index);
  for await (const piece of plain) {
    for (let from = 0; from < piece.length;) {
      const part = piece.subarray(from, from + room);
      from += part.length;
      room -= part.length;
      yield cipher.update(part);
      if (room > 0) continue;
      yield tagOf(cipher);
      index++;
      room = chunkBytes;
      cipher = chunkCipher(chunkKey, index);
    }
  }
  yield tagOf(cipher);
}

function chunkCipher(chunkKey: ChunkKey, index: number): CipherGCM {
  return createCipheriv("aes-256-gcm", chunkKey.key, chunkNonce(chunkKey, index));
}

function tagOf(cipher: CipherGCM): Uint8Array {
  cipher.final();
  return cipher.getAuthTag();
}
