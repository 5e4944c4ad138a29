import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { embedLocally, localEmbedder } from "../../src/documents/local-embedder.ts";
import { cosineAt, normalized, readVector, vectorBytes } from "../../src/documents/vectors.ts";
import { sha256 } from "../../src/kernel/digest.ts";

const signal = new AbortController().signal;
const nearness = (a: string, b: string) => cosineAt(embedLocally(a), embedLocally(b), 0);

describe("the local embedder", () => {
  test("gives each text a vector of length 1 with 384 dimensions", async () => {
    const texts = ["A red signal means stop.", "!!!", " ", "the of and", "信号", "🚂", ""];
    const vectors = await localEmbedder.embed(texts, signal);
    expect(vectors).toHaveLength(texts.length);
    for (const vector of vectors) {
      expect(vector).toHaveLength(384);
      expect(cosineAt(vector, vector, 0)).toBeCloseTo(1, 5);
    }
  });

  test("gives the same vector on every machine", () => {
    const bytes = vectorBytes(embedLocally("Grüße: the signal at Dover Junction failed twice, at 6:40 and at 7:05."));
    expect(Buffer.from(sha256(bytes)).toString("hex")).toBe(
      "fddfe93499ed3e87c202a42b86c7f7bf93c07740c1cbddf79104fa42d573a007",
    );
  });

  test("takes case, accents and marks for nothing", () => {
    expect(nearness("The Café — closed!", "the cafe closed")).toBeCloseTo(1, 5);
  });

  test.each([
    ["how do I cancel my order?", "Orders may be cancelled within two days.", "Our trains run every hour on weekdays."],
    ["refund for a broken lamp", "A lamp that arrives broken is refunded in full.", "We deliver on Saturdays as well."],
    [
      "when does the museum open",
      "The museum opens at ten.",
      "The opening of the valve takes ten seconds of your time.",
    ],
    ["Signal gestört", "Ein gestörtes Signal zeigt Rot.", "Der Bahnhof hat drei Gleise und ein Café."],
  ])("finds %j nearer to %j than to %j", (question, near, far) => {
    expect(nearness(question, near)).toBeGreaterThan(nearness(question, far));
  });

  test("lets words that say little count little", () => {
    expect(nearness("what is the signal", "signal")).toBeGreaterThan(nearness("what is the signal", "what is the"));
  });

  test("stops when its signal aborts", async () => {
    await expect(localEmbedder.embed(["a"], AbortSignal.abort())).rejects.toThrow("aborted");
  });
});

test("a vector survives being stored, wherever its bytes lie", () => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 20 }),
      fc.nat(7),
      (values, offset) => {
        const vector = Float32Array.from(values);
        const moved = new Uint8Array(offset + vector.length * 4);
        moved.set(vectorBytes(vector), offset);
        const read = new Float32Array(vector.length + 1);
        readVector(moved.subarray(offset), read, 1);
        expect([...read.subarray(1)]).toEqual([...vector]);
      },
    ),
  );
});

test("a vector without length stays as it is", () => {
  expect([...normalized([0, 0])]).toEqual([0, 0]);
  expect([...normalized([3, 4])].map((value) => value.toFixed(3))).toEqual(["0.600", "0.800"]);
});
