/** Sealed bytes are not what was sealed: damaged, cut, swapped, or sealed with another key or as something else. */
export class SealBrokenError extends Error {
  override readonly name = "SealBrokenError";
}
