/** One less than we promise: a `_` may come before it. */
const maxBytes = 127;
/** An ending longer than that is no ending. */
const maxEndingBytes = 16;
const fallback = "file";

/** What Windows and macOS take for a separator, a drive, a stream or a pattern, and what moves or hides text. */
const unsafe = /[\p{Cc}\p{Cf}\u2028\u2029<>:"/\\|?*]/gu;
/** Names of devices, with whatever ending; Windows takes superscript digits for digits. */
const device = /^(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)/i;
/** Files in which a folder's looks, or what is run when it is opened, are kept. */
const special = /^(desktop\.ini|autorun\.inf|thumbs\.db|__macosx|icon\r?)$/i;

/**
 * A name for a file in a folder of its own, made of what people call it: the same name gives the same file name, on every
 * system. At most 128 bytes, with its ending kept. Pure.
 */
export function safeFileName(name: string): string {
  const plain = name.normalize("NFC").toWellFormed().replace(unsafe, "_");
  // Windows drops spaces and dots at the end; dots at the start hide a file, a hyphen makes it an option.
  const bounded = shortened(plain.trim())
    .replace(/[\s.]+$/, "")
    .replace(/^[.~-]/, "_");
  if (bounded === "") return fallback;
  return device.test(bounded) || special.test(bounded) ? `_${bounded}` : bounded;
}

function shortened(name: string): string {
  if (Buffer.byteLength(name) <= maxBytes) return name;
  const dot = name.lastIndexOf(".");
  const ending = dot > 0 && Buffer.byteLength(name.slice(dot)) <= maxEndingBytes ? name.slice(dot) : "";
  let stem = "";
  // By code points, so that none is cut in two.
  for (const character of name) {
    if (Buffer.byteLength(stem + character + ending) > maxBytes) break;
    stem += character;
  }
  return stem + ending;
}
