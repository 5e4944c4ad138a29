/** Grants that an artifact shows at most; links as well. As many may hold at the same time. */
export const maxGrants = 200;

/**
 * The list with room for one more: when it is full, the oldest give way that do not hold any more. What they were stays in the
 * log. Pure.
 */
export function withRoom<T>(list: readonly T[], holds: (item: T) => boolean): readonly T[] {
  let excess = list.length - maxGrants + 1;
  if (excess <= 0) return list;
  return list.filter((item) => holds(item) || excess-- <= 0);
}
