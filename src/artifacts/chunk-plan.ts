/** The size of every chunk of an upload but the last, in bytes. */
export const chunkSizeBytes = 1024 * 1024;

/** How many chunks a file of that size has; 0 for an empty one. */
export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / chunkSizeBytes);
}

/** The size of a chunk of a file of that size, in bytes. */
export function chunkLength(sizeBytes: number, index: number): number {
  return Math.min(chunkSizeBytes, sizeBytes - index * chunkSizeBytes);
}

/** As many ranges are named at most: they travel in a header. */
const maxRanges = 200;

/** Indexes in words: `0-2,7` for 0, 1, 2 and 7; the first 200 ranges. They have to be in order. */
export function indexRanges(indexes: readonly number[]): string {
  const ranges: { first: number; last: number }[] = [];
  for (const index of indexes) {
    const range = ranges.at(-1);
    if (range !== undefined && range.last === index - 1) range.last = index;
    else ranges.push({ first: index, last: index });
  }
  const named = ranges.slice(0, maxRanges);
  return named.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
