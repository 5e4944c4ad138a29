import { expect, test } from "vitest";
import { createBlockWatch } from "../../src/engine/block-watch.ts";

const everyMs = 250;

/** Looks every 250 ms from one time to the other; returns what was noticed, and when. */
function looks(watch: ReturnType<typeof createBlockWatch>, fromMs: number, toMs: number, count: () => number) {
  const noticed: [string, number][] = [];
  for (let nowMs = fromMs + everyMs; nowMs <= toMs; nowMs += everyMs) {
    const blocked = watch.look(count(), nowMs);
    if (blocked !== undefined) noticed.push([blocked.state, nowMs]);
  }
  return noticed;
}

test("an event loop that turns is nothing to tell", () => {
  const watch = createBlockWatch(everyMs, 60_000);
  let count = 0;
  watch.seen(0);
  expect(looks(watch, 0, 20_000, () => ++count)).toEqual([]);
});

test("one that holds still is told of once, and given up once", () => {
  const watch = createBlockWatch(everyMs, 60_000);
  watch.seen(0);
  expect(looks(watch, 0, 120_000, () => 0)).toEqual([
    ["blocked", 5_250],
    ["given up", 60_250],
  ]);
});

test("after it has turned again it is told of anew", () => {
  const watch = createBlockWatch(everyMs, 60_000);
  watch.seen(0);
  expect(looks(watch, 0, 10_000, () => 0)).toHaveLength(1);
  expect(watch.look(1, 10_250)).toBeUndefined();
  expect(looks(watch, 10_250, 20_000, () => 1)).toEqual([["blocked", 15_500]]);
});

test("the time in which the watch itself was held up does not count", () => {
  const watch = createBlockWatch(everyMs, 60_000);
  watch.seen(0);
  expect(looks(watch, 0, 1_000, () => 0)).toEqual([]);
  // The process was suspended for two minutes.
  expect(watch.look(0, 121_250)).toBeUndefined();
  expect(looks(watch, 121_250, 124_000, () => 0)).toEqual([]);
});

test("a limit below what people are told of gives up at once", () => {
  const watch = createBlockWatch(everyMs, 1_000);
  watch.seen(0);
  expect(looks(watch, 0, 10_000, () => 0)).toEqual([["given up", 1_250]]);
});
