import { create } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DeltaSchema, type RunDelta, RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";
import { jsonValue } from "../../src/client/client.ts";
import { createDeltaQueue } from "../../src/deltas/delta-queue.ts";
import { toRunDeltas } from "../../src/deltas/join.ts";

/** A piece of text; its index doubles as its text unless told otherwise. */
function piece(index: number, fields: { key?: string; run?: string; attempt?: number; text?: string } = {}): RunDelta {
  const { key = "answer", run = "run_1", attempt = 1, text = `${index} ` } = fields;
  return create(RunDeltaSchema, { runId: run, attempt, delta: { stepKey: key, index, text } });
}

function drained(queue: ReturnType<typeof createDeltaQueue>): RunDelta[] {
  const taken: RunDelta[] = [];
  for (let next = queue.take(); next !== undefined; next = queue.take()) taken.push(next);
  return taken;
}

const shown = (pieces: readonly RunDelta[]) =>
  pieces.map(({ delta, joined }) => [delta?.stepKey, delta?.text, delta?.index, joined]);

describe("a queue", () => {
  test("hands out what nobody took in between as one piece", () => {
    const queue = createDeltaQueue();
    for (let index = 0; index < 4; index++) queue.push(piece(index), 10);
    expect(shown(drained(queue))).toEqual([["answer", "0 1 2 3 ", 3, 3]]);
    queue.push(piece(4), 10);
    expect(shown(drained(queue))).toEqual([["answer", "4 ", 4, 0]]);
    expect(queue.length).toBe(0);
  });

  test("joins steps that run side by side, each with itself", () => {
    const queue = createDeltaQueue();
    for (let index = 0; index < 3; index++) {
      queue.push(piece(index, { key: "a" }), 10);
      queue.push(piece(index, { key: "b" }), 10);
    }
    expect(shown(drained(queue))).toEqual([
      ["a", "0 1 2 ", 2, 2],
      ["b", "0 1 2 ", 2, 2],
    ]);
  });

  test.each<[string, RunDelta]>([
    ["a gap", piece(2)],
    ["another run", piece(1, { run: "run_2" })],
    ["another attempt", piece(1, { attempt: 2 })],
    ["too much text", piece(1, { text: "x".repeat(65_536) })],
    ["data", { ...piece(1), delta: create(DeltaSchema, { stepKey: "answer", index: 1, data: jsonValue(1) }) }],
  ])("does not join over %s", (_what, second) => {
    const queue = createDeltaQueue();
    queue.push(piece(0), 10);
    queue.push(second, 10);
    expect(queue.length).toBe(2);
  });

  test("drops the oldest pieces when there are too many, and the indexes show it", () => {
    const queue = createDeltaQueue(3_000);
    for (let index = 0; index < 100; index += 2) queue.push(piece(index), 200);
    const indexes = drained(queue).map(({ delta }) => delta?.index);
    expect(indexes).toEqual([88, 90, 92, 94, 96, 98]);
  });

  test("keeps one piece that is larger than everything it may hold", () => {
    const queue = createDeltaQueue(1_000);
    queue.push(piece(0), 10);
    queue.push(piece(2), 5_000);
    expect(shown(drained(queue))).toEqual([["answer", "2 ", 2, 0]]);
  });
});

test("whatever is pushed and taken, each step's text comes in order, and without a drop it comes whole", () => {
  const push = fc.record({ key: fc.constantFrom("a", "b", "c") });
  fc.assert(
    fc.property(fc.array(fc.oneof(push, fc.constant("take" as const)), { maxLength: 200 }), (moves) => {
      const queue = createDeltaQueue();
      const sent: Record<string, string> = {};
      const got: Record<string, string> = {};
      const counts: Record<string, number> = {};
      const read = (taken: RunDelta | undefined) => {
        if (taken?.delta === undefined) return;
        const { stepKey, text } = taken.delta;
        got[stepKey] = (got[stepKey] ?? "") + text;
      };
      for (const move of moves) {
        if (move === "take") {
          read(queue.take());
          continue;
        }
        const index = (counts[move.key] = (counts[move.key] ?? -1) + 1);
        sent[move.key] = `${sent[move.key] ?? ""}${index} `;
        queue.push(piece(index, { key: move.key }), 10);
      }
      for (const taken of drained(queue)) read(taken);
      expect(got).toEqual(sent);
    }),
  );
});

test("the pieces of one call are joined where they follow on each other", () => {
  const source = { runId: "run_1", attempt: 3, createTime: new Date(1_000) };
  const deltas = [
    create(DeltaSchema, { stepKey: "a", index: 0, text: "one " }),
    create(DeltaSchema, { stepKey: "a", index: 1, text: "two" }),
    create(DeltaSchema, { stepKey: "a", index: 2, data: jsonValue({ done: 0.5 }) }),
    create(DeltaSchema, { stepKey: "b", index: 0, text: "other" }),
  ];
  const pieces = toRunDeltas(source, deltas);
  expect(shown(pieces)).toEqual([
    ["a", "one two", 1, 1],
    ["a", "", 2, 0],
    ["b", "other", 0, 0],
  ]);
  expect(
    pieces.every(({ runId, attempt, createTime }) => runId === "run_1" && attempt === 3 && createTime?.seconds === 1n),
  ).toBe(true);
});
