/** The vector with length 1; unchanged when it has none. Pure. */
export function normalized(vector: ArrayLike<number>): Float32Array {
  let squares = 0;
  for (let i = 0; i < vector.length; i++) squares += (vector[i] ?? 0) ** 2;
  const scale = squares === 0 ? 1 : 1 / Math.sqrt(squares);
  return Float32Array.from(vector, (value) => value * scale);
}

/** The vector as little-endian 32-bit floats. Pure. */
export function vectorBytes(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(vector.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of vector.entries()) view.setFloat32(index * 4, value, true);
  return bytes;
}

/** Writes what `vectorBytes` made into `target`, from an index on. */
export function readVector(bytes: Uint8Array, target: Float32Array, at: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < bytes.length / 4; i++) target[at + i] = view.getFloat32(i * 4, true);
}

/** The cosine of the angle between a vector of length 1 and another one that stands in `vectors` from an index on. Pure. */
export function cosineAt(vector: Float32Array, vectors: Float32Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += (vector[i] ?? 0) * (vectors[at + i] ?? 0);
  return sum;
}
