/** What a name may have at most, in bytes of UTF-8. */
const maxBytes = 255;

/**
 * The name of a file, as it can be shown to anybody on one line, 1 to 255 bytes: in normal form C, without characters that
 * control something or turn the direction of the text, with `_` for slashes. `file` when nothing is left. It is no path, and
 * saved under it in a folder of their own nobody gets a hidden file, or one in another folder. Pure.
 */
export function cleanName(given: string): string {
  const line = given
    .toWellFormed()
    .normalize("NFC")
    .replace(/[\s\p{Zl}\p{Zp}]+/gu, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "")
    .replace(/[/\\]/g, "_")
    .trim()
    .replace(/^\.+/, (dots) => `_${dots}`);
  const name = cut(line).trimEnd();
  return name === "" ? "file" : name;
}

/** The longest beginning that is not too long; characters are never cut in two. */
function cut(name: string): string {
  if (Buffer.byteLength(name) <= maxBytes) return name;
  let bytes = 0;
  let end = 0;
  for (const character of name) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    end += character.length;
  }
  return name.slice(0, end);
}
