import { describe, expect, test } from "vitest";
import {
  choicesOption,
  countOption,
  durationOption,
  labelOption,
  listOption,
  positionOption,
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
