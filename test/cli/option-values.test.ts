import { describe, expect, test } from "vitest";
import {
  bigNumberOption,
  choiceOption,
  choicesOption,
  costOption,
  countOption,
  durationOption,
  factorOption,
  hashOption,
  labelOption,
  listOption,
  numberOption,
  positionOption,
  rateOption,
  settingsOption,
  shareOption,
} from "../../src/cli/option-values.ts";

describe("durationOption", () => {
  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["1.5m", 90_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
    ["0s", 0],
  ])("reads %s as %d ms", (text, ms) => {
    expect(durationOption(text)).toBe(ms);
  });

  test.each(["", "30", "s", "-1s", "1 s", "1w", "1e3s", "30sx"])("refuses %j", (text) => {
    expect(() => durationOption(text)).toThrow("for example 30s");
  });
});

describe("labelOption", () => {
  test("adds labels up; values may be empty or hold an equals sign", () => {
    expect(labelOption("b=x=y", labelOption("a=", undefined))).toEqual({ a: "", b: "x=y" });
  });

  test.each(["", "a", "=b"])("refuses %j", (text) => {
    expect(() => labelOption(text)).toThrow("for example team=research");
  });
});

describe("numbers", () => {
  test("read counts and positions", () => {
    expect(countOption("12")).toBe(12);
    expect(positionOption("18446744073709")).toBe(18_446_744_073_709n);
  });

  test("read limits, where 0 is none", () => {
    expect(numberOption("0")).toBe(0);
    expect(bigNumberOption("1000000000000")).toBe(1_000_000_000_000n);
    expect(() => numberOption("-1")).toThrow("whole number from 0");
    expect(() => bigNumberOption("1e3")).toThrow("whole number from 0");
  });

  test("read money in millionths", () => {
    expect(["0", "2", "2.5", "0.000001"].map(costOption)).toEqual([0n, 2_000_000n, 2_500_000n, 1n]);
    for (const text of ["", "2.", "-1", "0.0000001", "1,5"]) expect(() => costOption(text)).toThrow("for example 2.50");
  });

  test("read factors and shares", () => {
    expect(["1", "1.5", "10"].map(factorOption)).toEqual([1, 1.5, 10]);
    for (const text of ["0.5", "x", ""]) expect(() => factorOption(text)).toThrow("number from 1");
    expect(["0", "0.25", "1"].map(shareOption)).toEqual([0, 0.25, 1]);
    for (const text of ["1.1", "-0.1", ""]) expect(() => shareOption(text)).toThrow("number from 0 to 1");
  });

  test("read rates", () => {
    expect(rateOption("100/1m")).toEqual({ count: 100, periodMs: 60_000 });
    expect(rateOption("none")).toBe("none");
    expect(() => rateOption("100")).toThrow("for example 100/1m");
    expect(() => rateOption("0/1m")).toThrow("whole number from 1");
    expect(() => rateOption("100/m")).toThrow("for example 30s");
  });

  test.each(["0", "-1", "1.5", "x", "", "9999999999"])("refuse the count %j", (text) => {
    expect(() => countOption(text)).toThrow("whole number from 1");
  });

  test.each(["-1", "1.5", "x", ""])("refuse the position %j", (text) => {
    expect(() => positionOption(text)).toThrow("whole number from 0");
  });
});

describe("lists", () => {
  test("take items with commas between, and more than once", () => {
    expect(listOption("c", listOption("a, b,"))).toEqual(["a", "b", "c"]);
  });

  test("take only what may be chosen, in any case", () => {
    const choose = choicesOption(["queued", "running"]);
    expect(choose("RUNNING,queued")).toEqual(["queued", "running"]);
    expect(() => choose("queued,done")).toThrow("Give some of queued, running.");
    expect(() => choose("")).toThrow("Give some of queued, running.");
  });
});

describe("settings", () => {
  const read = settingsOption<{ size: number; mode: "a" | "b"; tags: readonly string[] }>({
    size: countOption,
    mode: choiceOption(["a", "b"]),
    tags: listOption,
  });

  test("take names and values with commas between, and more than once", () => {
    expect(read("mode=b, tags=y", read("size=1,mode=a,tags=x"))).toEqual({ size: 1, mode: "b", tags: ["x", "y"] });
  });

  test.each(["", "size", "=1", "toString=1"])("refuse %j and name what there is", (text) => {
    expect(() => read(text)).toThrow("Give some of size, mode, tags, each with = and a value.");
  });

  test("refuse a bad value", () => {
    expect(() => read("size=x")).toThrow("whole number from 1");
    expect(() => read("mode=c")).toThrow("Give one of a, b.");
  });
});

describe("hashOption", () => {
  test("reads hex and base64 as lower-case hex", () => {
    expect(hashOption("AB".repeat(32))).toBe("ab".repeat(32));
    expect(hashOption(Buffer.alloc(32, 0xab).toString("base64"))).toBe("ab".repeat(32));
  });

  test.each(["", "ab", "g".repeat(64), "ab".repeat(33), Buffer.alloc(31).toString("base64")])("refuses %j", (text) => {
    expect(() => hashOption(text)).toThrow("Give a SHA-256");
  });
});
