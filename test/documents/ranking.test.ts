import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createRanking } from "../../src/documents/ranking.ts";

test("holds the best that were offered, the first of equals first, and makes nothing that it does not hold", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -5, max: 5 })),
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: -5, max: 5 }),
      (scores, limit, minScore) => {
        const ranking = createRanking<number>(limit, minScore);
        for (const [item, score] of scores.entries()) ranking.offer(score, () => item);
        const expected = scores
          .map((score, item) => ({ score, item }))
          .filter(({ score }) => score >= minScore)
          .toSorted((a, b) => b.score - a.score || a.item - b.item)
          .slice(0, limit);
        expect(ranking.best).toEqual(expected);
      },
    ),
  );
});
