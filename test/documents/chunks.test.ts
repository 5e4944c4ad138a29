import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutText } from "../../src/documents/chunks.ts";

const pieces = (text: string) => cutText(text).map(({ start, end }) => text.slice(start, end));
const sentence = (n: number) => `Sentence number ${n} says something about the points and signals of line ${n}.`;
const sentences = (count: number) => Array.from({ length: count }, (_, n) => sentence(n));

describe("a text", () => {
  test.each(["", " \n\t ", "\u3000"])("of blanks has no pieces: %j", (text) => {
    expect(cutText(text)).toEqual([]);
  });

  test("that is short is one piece, without the blanks around it", () => {
    expect(cutText("  A red signal.\n")).toEqual([{ start: 2, end: 15 }]);
    expect(pieces("x".repeat(800))).toEqual(["x".repeat(800)]);
  });

  test("is cut after a paragraph where one ends, even when sentences end later", () => {
    const first = sentences(8).join(" ");
    const text = `${first}\n\n${sentences(8).join(" ")}`;
    expect(first.length).toBeGreaterThan(480);
    expect(pieces(text)[0]).toBe(first);
  });

  test("is cut between sentences, and a piece begins with the sentence that ended the one before", () => {
    const [first = "", second = ""] = pieces(sentences(20).join(" "));
    expect(first.endsWith(".")).toBe(true);
    expect(second.startsWith("Sentence number")).toBe(true);
    expect(first.endsWith(second.slice(0, second.indexOf(".") + 1))).toBe(true);
  });

  test("in a script without blanks is cut after its full stops", () => {
    const text = "信号是红色的，火车必须停下来等待。".repeat(100);
    expect(pieces(text).every((piece) => piece.endsWith("。") && piece.startsWith("信"))).toBe(true);
  });

  test("without sentences is cut between words", () => {
    const text = Array.from({ length: 400 }, (_, n) => `word${n}`).join(" ");
    for (const piece of pieces(text)) expect(piece).toMatch(/^word\d+ .* word\d+$/);
  });

  test("that is one huge word is cut anywhere, but not inside a character", () => {
    for (const text of ["x".repeat(5_000), "🚂".repeat(2_500), `x${"🚂".repeat(2_500)}`]) {
      const found = pieces(text);
      expect(found.length).toBeGreaterThan(5);
      expect(found.every((piece) => piece.isWellFormed())).toBe(true);
    }
  });

  test("of a mebibyte is cut into pieces that fit an event with their vectors", () => {
    const text = sentences(20_000)
      .join(" ")
      .slice(0, 1024 * 1024);
    const vectorBytes = cutText(text).length * (384 * 4 + 16);
    expect(text.length + vectorBytes).toBeLessThan(4 * 1024 * 1024 - 64 * 1024);
  });
});

test("whatever the text, its pieces are in order, overlap a little, are never too long and leave out only blanks", () => {
  const word = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.constantFrom("\n\n", "\n", ". ", "! ", "。", " ", "\u00a0"),
    fc.nat(1_500).map((length) => "y".repeat(length)),
    fc.nat(800).map((length) => "🚂".repeat(length)),
    fc.nat(2_000).map((length) => " ".repeat(length)),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 150 }), (words) => {
      const text = words.join("");
      const spans = cutText(text);
      let before = { start: -1, end: 0 };
      for (const { start, end } of spans) {
        const piece = text.slice(start, end);
        expect(piece.length).toBeGreaterThan(0);
        expect(piece.length).toBeLessThanOrEqual(800);
        expect(piece).toBe(piece.trim());
        expect(piece.isWellFormed() || !text.isWellFormed()).toBe(true);
        expect(start).toBeGreaterThan(before.start);
        expect(end).toBeGreaterThan(before.end);
        expect(before.end - start).toBeLessThanOrEqual(101);
        expect(text.slice(before.end, start).trim()).toBe("");
        before = { start, end };
      }
      expect(text.slice(before.end).trim()).toBe("");
    }),
    { numRuns: 300 },
  );
});
