import { ToolError } from "../tool-error.ts";

const maxSegments = 32;
const maxSegmentBytes = 200;
/** What names of ours in a run's folder begin with; nobody else may use such names. */
export const reservedPrefix = ".signalbox-";

/**
 * The names on the way to a file, at least one; for a folder none, when the path is empty or `.`. A path is relative, with
 * `/` between names. Throws a ToolError PATH_NOT_ALLOWED for one that could lead out of the folder, or that not every
 * system can hold: `..`, an absolute path, `\`, `:`, control characters, empty or long names.
 */
export function pathSegments(path: string, kind: "file" | "folder"): string[] {
  if (kind === "folder" && (path === "" || path === ".")) return [];
  const segments = path.split("/");
  if (segments.length > maxSegments) throw notAllowed(path, `has more than ${maxSegments} names`);
  for (const segment of segments) {
    const problem = problemOf(segment);
    if (problem !== undefined) throw notAllowed(path, problem);
  }
  return segments;
}

function problemOf(segment: string): string | undefined {
  if (segment === "") return "must be relative, with one / between names, such as notes/today.md";
  if (segment === "." || segment === "..") return `must not have the name ${segment}`;
  if (!segment.isWellFormed()) return "has half of a surrogate pair, which is no text";
  if (/[\p{Cc}\\:]/u.test(segment)) return "must not have control characters, \\ or :";
  if (Buffer.byteLength(segment) > maxSegmentBytes) return `has a name of more than ${maxSegmentBytes} bytes`;
  if (segment.toLowerCase().startsWith(reservedPrefix))
    return `must not have a name that begins with ${reservedPrefix}`;
  return undefined;
}

function notAllowed(path: string, problem: string): ToolError {
  const shown = JSON.stringify(path.length <= 200 ? path : `${path.slice(0, 200)}…`);
  return new ToolError("PATH_NOT_ALLOWED", `the path ${shown} ${problem}`);
}
