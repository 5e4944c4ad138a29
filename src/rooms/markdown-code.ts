/**
 * The paragraphs of a Markdown text, without its code: fenced and indented blocks are left out, code spans are blanked. Links,
 * quotes and lists stay as they are. Takes time in proportion to the text.
 */
export function proseOf(text: string): string[] {
  const paragraphs: string[][] = [[]];
  let fence: string | undefined;
  let afterBlank = true;
  let inList = false;
  for (const quoted of text.split(/\r\n?|\n/)) {
    const line = quoted.replace(/^(?: {0,3}> ?)+/, "");
    const blank = line.trim() === "";
    if (fence !== undefined) {
      if (closes(fence, line)) fence = undefined;
      continue;
    }
    const indented = /^(?: {4}| {0,3}\t)/.test(line);
    // Behind a blank line, four blanks make code, except where they continue a list.
    const isCode: boolean = !blank && indented && afterBlank && !inList;
    fence = isCode ? undefined : fenceOf(inList ? line.trimStart() : line);
    if (blank || fence !== undefined || isCode) {
      paragraphs.push([]);
      afterBlank = blank || isCode;
      continue;
    }
    if (!indented) inList = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/.test(line) || (inList && !afterBlank);
    afterBlank = false;
    paragraphs.at(-1)?.push(line);
  }
  return paragraphs.filter((lines) => lines.length > 0).map((lines) => withoutSpans(lines.join("\n")));
}

/** The characters that open a fenced block; undefined when the line opens none. */
function fenceOf(line: string): string | undefined {
  const [, marks = "", info = ""] = /^ {0,3}(?:(?:[-*+]|\d{1,9}[.)])\s+)*(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
  // What looks like a fence of backticks with one behind it is a code span.
  return marks === "" || (marks.startsWith("`") && info.includes("`")) ? undefined : marks;
}

function closes(fence: string, line: string): boolean {
  const marks = line.trim();
  return marks.length >= fence.length && marks === fence.charAt(0).repeat(marks.length);
}

/** A run of backticks. */
interface Ticks {
  readonly start: number;
  readonly length: number;
}

/** The paragraph with a blank for each code span: from some backticks to the next run of as many. */
function withoutSpans(paragraph: string): string {
  const runs = [...paragraph.matchAll(/`+/g)].map(({ index, 0: ticks }) => ({ start: index, length: ticks.length }));
  const byLength = Map.groupBy(runs, ({ length }) => length);
  const passed = new Map<number, number>();
  /** The next run of a length behind a place. Places only grow, so nothing is looked at twice. */
  function next(length: number, behind: number): Ticks | undefined {
    const same = byLength.get(length) ?? [];
    let index = passed.get(length) ?? 0;
    while ((same[index]?.start ?? Infinity) < behind) index++;
    passed.set(length, index);
    return same[index];
  }
  let prose = "";
  let done = 0;
  for (const { start, length } of runs) {
    if (start < done) continue;
    // The first of escaped backticks is a character like any other.
    const open = isEscaped(paragraph, start) ? length - 1 : length;
    const close = open === 0 ? undefined : next(open, start + length);
    if (close === undefined) continue;
    prose += `${paragraph.slice(done, start + length - open)} `;
    done = close.start + close.length;
  }
  return prose + paragraph.slice(done);
}

function isEscaped(text: string, index: number): boolean {
  let backslashes = 0;
  while (text[index - 1 - backslashes] === "\\") backslashes++;
  return backslashes % 2 === 1;
}
