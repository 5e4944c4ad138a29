/** Tokens of letters, digits, `_` and `-` with slashes between: nothing that a path, a subject or a key could read otherwise. */
const pattern = /^[A-Za-z0-9_-]{1,100}(?:\/[A-Za-z0-9_-]{1,100}){0,7}$/;

/** True for what may name a blob. */
export function isBlobName(text: string): boolean {
  return pattern.test(text);
}

/** Throws a TypeError for what may not name a blob: names are made by us, so a bad one is our defect. */
export function requireBlobName(name: string): void {
  if (!isBlobName(name)) throw new TypeError(`not the name of a blob: ${JSON.stringify(name)}`);
}
