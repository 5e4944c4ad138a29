/** A piece of a text. */
export interface Span {
  /** Where it begins, in UTF-16 code units. */
  readonly start: number;
  /** Where it ends, exclusive. */
  readonly end: number;
}

/** The longest piece, and the shortest one that another follows, before blanks at its end are taken off. */
const maxLength = 800;
const minLength = 480;
/** How far a piece reaches back into the one before it, at most. */
const overlapLength = 100;

const sentenceEnd = /(?:[.!?…]["'”’»)\]]*(?=\s)|[。！？])/g;
/** Where a piece may end, the best place first. */
const endings = [/(?=\n\s*\n)/g, sentenceEnd, /(?=\n)/g, /(?=\s)/g];
/** Where the next piece may begin, the best place first. */
const beginnings = [new RegExp(`${sentenceEnd.source}\\s*`), /\s+/];

/**
 * Cuts a text into pieces of up to 800 UTF-16 code units: at the end of a paragraph, a sentence, a line or a word, whichever
 * comes first in this list within the last two fifths, else anywhere but inside a character. Each piece begins with up to 100
 * of what ends the one before, from the start of a sentence or word. They come in order, hold everything but blanks
 * between them, and neither begin nor end with a blank; none for a blank text. Pure.
 */
export function cutText(text: string): Span[] {
  const spans: Span[] = [];
  const length = text.trimEnd().length;
  let start = skipBlanks(text, 0);
  while (start < length) {
    const cut = length - start <= maxLength ? length : endOf(text, start);
    const end = start + text.slice(start, cut).trimEnd().length;
    // A long blank after the overlap: there is nothing new in this piece.
    const isNew = end > (spans.at(-1)?.end ?? 0);
    if (isNew) spans.push({ start, end });
    if (cut === length) break;
    start = skipBlanks(text, isNew ? startAfter(text, cut) : cut);
  }
  return spans;
}

function endOf(text: string, start: number): number {
  const from = start + minLength;
  // One more than may be taken: the blank after a sentence need not fit in.
  const window = text.slice(from, start + maxLength + 1);
  for (const ending of endings) {
    const last = [...window.matchAll(ending)].findLast(({ 0: match, index }) => index + match.length < window.length);
    if (last !== undefined) return from + last.index + last[0].length;
  }
  return outsidePair(text, start + maxLength);
}

function startAfter(text: string, end: number): number {
  const from = outsidePair(text, end - overlapLength);
  const window = text.slice(from, end);
  for (const beginning of beginnings) {
    const first = beginning.exec(window);
    if (first !== null) return from + first.index + first[0].length;
  }
  return from;
}

/** The place itself, or the one before it when it lies inside a surrogate pair. */
function outsidePair(text: string, at: number): number {
  return /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text.slice(at - 1, at + 1)) ? at - 1 : at;
}

function skipBlanks(text: string, from: number): number {
  const blanks = /\s*/y;
  blanks.lastIndex = from;
  return from + (blanks.exec(text)?.[0].length ?? 0);
}
