import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cleanName } from "../../src/artifacts/name.ts";

test.each([
  ["report.pdf", "report.pdf"],
  ["Fahrplan — später.pdf", "Fahrplan — später.pdf"],
  ["../../etc/passwd", "_.._.._etc_passwd"],
  ["..", "_.."],
  [".bashrc", "_.bashrc"],
  ["C:\\Windows\\system.ini", "C:_Windows_system.ini"],
  ["a\u0000b\nc\td\r\n", "ab c d"],
  ["photo\u202Egpj.exe", "photogpj.exe"],
  ["e\u0301te\u0301", "\u00e9t\u00e9"],
  ["\uFEFF \u200B ", "file"],
  ["", "file"],
  ["\uD800x", "\uFFFDx"],
])("%j is shown as %j", (given, shown) => {
  expect(cleanName(given)).toBe(shown);
});

test("a long name is cut between characters", () => {
  expect(cleanName("a".repeat(10_000))).toBe("a".repeat(255));
  expect(cleanName("😀".repeat(100))).toBe("😀".repeat(63));
});

test("whatever comes in, the name is one harmless line, and cleaning it again changes nothing", () => {
  const anything = fc.string({ unit: "binary", maxLength: 600 });
  fc.assert(
    fc.property(anything, (given) => {
      const name = cleanName(given);
      expect(Buffer.byteLength(name)).toBeGreaterThan(0);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
      expect(name).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}/\\]|^[.\s]|\s$/u);
      expect(cleanName(name)).toBe(name);
    }),
  );
});
