import { macOf, sameText } from "./mac.ts";

/** What a signed URL leads to, and on what. */
export interface SignedPath {
  readonly workspaceId: string;
  readonly artifactId: string;
  /** The grant or link that it rests on. */
  readonly grantId: string;
  /** Until when, in seconds since 1970. */
  readonly expireSeconds: number;
}

/** What a path and its query are worth. */
export type ReadPath =
  | { readonly state: "valid" | "expired"; readonly signed: SignedPath }
  /** Not made by this installation, or changed since. */
  | { readonly state: "forged" };

/** How long a signed URL is good for. */
export const signedUrlMs = 5 * 60_000;

const queryPattern = /^g=((?:grant|link)_[0-7][0-9A-HJKMNP-TV-Z]{25})&exp=([1-9]\d{0,11})&sig=([\w-]{43})$/;

/** `<workspace>/<artifact>?g=…&exp=…&sig=…`, to stand behind `/artifacts/`. The signature covers all of it. Pure. */
export function signPath(key: Uint8Array, path: SignedPath): string {
  const { workspaceId, artifactId, grantId, expireSeconds } = path;
  return `${workspaceId}/${artifactId}?g=${grantId}&exp=${expireSeconds}&sig=${signature(key, path)}`;
}

/** Reads what signPath wrote; there is one way to write it, and any other is forged. Pure. */
export function readPath(
  key: Uint8Array,
  { workspaceId, artifactId }: Pick<SignedPath, "workspaceId" | "artifactId">,
  query: string,
  now: Date,
): ReadPath {
  const [, grantId, seconds, given] = queryPattern.exec(query) ?? [];
  if (grantId === undefined || seconds === undefined || given === undefined) return { state: "forged" };
  const signed = { workspaceId, artifactId, grantId, expireSeconds: Number(seconds) };
  if (!sameText(signature(key, signed), given)) return { state: "forged" };
  return { state: signed.expireSeconds * 1000 > now.getTime() ? "valid" : "expired", signed };
}

function signature(key: Uint8Array, { workspaceId, artifactId, grantId, expireSeconds }: SignedPath): string {
  return macOf(key, workspaceId, artifactId, grantId, String(expireSeconds));
}
