import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compareRank, createLine, type Ranked } from "../../src/queues/line.ts";

const ranked = fc.record({ priority: fc.integer({ min: 0, max: 9 }), createTimeMs: fc.integer({ min: 0, max: 5 }) });

test("those of high priority go first, then the oldest, then who came first; whoever leaves is gone", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(ranked, fc.boolean())), (people) => {
      const line = createLine<Ranked>();
      for (const [each] of people) line.add(each);
      const [leaving, staying] = [true, false].map((leaves) =>
        people.flatMap(([each, is]) => (is === leaves ? [each] : [])),
      );
      expect(leaving?.map((each) => line.remove(each))).toEqual(leaving?.map(() => true));
      const taken: Ranked[] = [];
      for (let { head } = line; head !== undefined; { head } = line) {
        taken.push(head);
        line.remove(head);
      }
      expect(taken).toEqual(staying?.toSorted(compareRank));
      expect(line.size).toBe(0);
    }),
  );
});

test("who does not stand in the line can not leave it", () => {
  const line = createLine<Ranked>();
  line.add({ priority: 1, createTimeMs: 1 });
  expect(line.remove({ priority: 1, createTimeMs: 1 })).toBe(false);
  expect(line.size).toBe(1);
});
