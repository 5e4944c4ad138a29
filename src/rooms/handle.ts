/** The longest handle. */
export const maxHandleLength = 64;

/** What decides whether two handles are the same: `@Alice` calls alice. */
export function handleKey(handle: string): string {
  return handle.toLowerCase();
}

/**
 * A handle made from a name: `basic-assistant` for "Basic Assistant", `zoe` for "Zoë". Lower case; what a handle can not hold
 * becomes `-`. The first name that leaves anything counts; `member` when none does.
 */
export function defaultHandle(...names: readonly string[]): string {
  return names.map(slugOf).find((slug) => slug !== "") ?? "member";
}

function slugOf(name: string): string {
  return name
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9_.-]+/g, "-")
    .replace(/^[_.-]+/, "")
    .slice(0, maxHandleLength)
    .replace(/[_.-]+$/, "");
}
