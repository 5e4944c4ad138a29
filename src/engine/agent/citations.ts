import type { JsonValue } from "../../client/json.ts";

/** A piece of a document that an answer cites, as the output of the run lists it. */
export type CitedPiece = {
  /** What stands in brackets in the text. */
  readonly number: number;
  readonly documentId: string;
  readonly title: string;
  /** Where the piece begins in the document's text, in UTF-16 code units. */
  readonly start: number;
  /** Where it ends, exclusive. */
  readonly end: number;
  /** How near it is to what was searched, -1 to 1. */
  readonly score: number;
  readonly text: string;
};

/** The pieces that a run has found. */
export interface Citations {
  /**
   * The result of a tool as the model is told it: the pieces in its `citations` are given the numbers to cite them by, the
   * same piece always the same, and so are the numbers in an `answer` that cites them. Other results are left alone.
   */
  numbered(result: JsonValue): JsonValue;
  /** Those whose number stands in brackets in the text, by number. */
  citedIn(text: string): CitedPiece[];
}

/** No pieces yet. */
export function createCitations(): Citations {
  const pieces = new Map<string, CitedPiece>();

  function numberOf(found: Omit<CitedPiece, "number">): number {
    const key = `${found.documentId}:${found.start}:${found.end}`;
    const piece = pieces.get(key) ?? { number: pieces.size + 1, ...found };
    pieces.set(key, piece);
    return piece.number;
  }

  return {
    numbered(result) {
      if (!isObject(result) || !Array.isArray(result["citations"])) return result;
      const found = result["citations"].map(pieceOf);
      if (found.some((piece) => piece === undefined)) return result;
      const numbers = new Map<number, number>();
      const citations = found.flatMap((piece) => {
        if (piece === undefined) return [];
        const { was, ...rest } = piece;
        const number = numberOf(rest);
        if (was !== undefined) numbers.set(was, number);
        return [{ number, title: rest.title, text: rest.text, score: rest.score }];
      });
      const { answer } = result;
      return { ...result, ...(typeof answer === "string" ? { answer: renumbered(answer, numbers) } : {}), citations };
    },
    citedIn(text) {
      const numbers = new Set([...text.matchAll(brackets)].flatMap(([, list = ""]) => list.split(",").map(Number)));
      return [...pieces.values()].filter(({ number }) => numbers.has(number));
    },
  };
}

/** `[1]` and `[2, 3]`. */
const brackets = /\[(\d+(?:\s*,\s*\d+)*)\]/g;

/** The answer of another agent with the numbers that its pieces have here. */
function renumbered(answer: string, numbers: ReadonlyMap<number, number>): string {
  return answer.replace(brackets, (_all, list: string) => {
    const own = list.split(",").map((number) => numbers.get(Number(number)) ?? Number(number));
    return `[${own.join(", ")}]`;
  });
}

/** A piece as a tool found it, or as another agent cited it: then `was` is the number that it had there. */
function pieceOf(value: JsonValue): (Omit<CitedPiece, "number"> & { was: number | undefined }) | undefined {
  if (!isObject(value)) return undefined;
  const { title = "", start = 0, end, score = 0, text = "", number } = value;
  const documentId = value["document_id"] ?? value["documentId"];
  if (typeof documentId !== "string" || typeof title !== "string" || typeof text !== "string") return undefined;
  if (typeof start !== "number" || typeof end !== "number" || typeof score !== "number") return undefined;
  return { documentId, title, start, end, score, text, was: typeof number === "number" ? number : undefined };
}

function isObject(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
