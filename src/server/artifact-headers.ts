/** Media types that a browser does nothing with but show or play them; everything else goes out as bytes. */
const harmless = new Set([
  "application/gzip",
  "application/json",
  "application/pdf",
  "application/x-ndjson",
  "application/x-tar",
  "application/zip",
  "audio/mpeg",
  "audio/ogg",
  "audio/wav",
  "image/gif",
  "image/jpeg",
  "image/png",
  "image/webp",
  "text/csv",
  "text/markdown",
  "text/plain",
  "video/mp4",
  "video/webm",
]);

/** The headers of everything below `/artifacts/`, errors included: nothing is kept, run, or told to others. */
export const guardHeaders: Readonly<Record<string, string>> = {
  "cache-control": "private, no-store",
  "content-security-policy": "sandbox; default-src 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/**
 * The media type that a browser is told: without parameters but `charset=utf-8` of a text, `application/octet-stream` for what
 * could run. Pure.
 */
export function safeContentType(contentType: string): string {
  const [type = "", ...parameters] = contentType.split(";").map((part) => part.trim().toLowerCase());
  if (!harmless.has(type)) return "application/octet-stream";
  const isUtf8 = parameters.some((parameter) => /^charset="?utf-8"?$/.test(parameter));
  return type.startsWith("text/") && isUtf8 ? `${type}; charset=utf-8` : type;
}

/**
 * Tells a browser to save the bytes under a name (RFC 6266): in ASCII for old ones, with `_` for what they can not read, and as
 * it is (RFC 8187). Pure.
 */
export function attachment(name: string): string {
  const ascii = name.replace(/[^ -~]|["\\%]/gu, "_");
  const encoded = encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
