import * as fc from "fast-check";
import { expect, test } from "vitest";
import { safeFileName } from "../../src/bundles/file-name.ts";

test.each([
  ["report.pdf", "report.pdf"],
  ["Übersicht 2026.csv", "Übersicht 2026.csv"],
  ["../../etc/passwd", "_._.._etc_passwd"],
  ["..\\..\\boot.ini", "_._.._boot.ini"],
  ["/etc/passwd", "_etc_passwd"],
  ["C:\\x", "C__x"],
  ["report.txt:stream", "report.txt_stream"],
  ["..", "file"],
  ["", "file"],
  [" . ", "file"],
  ["con", "_con"],
  ["NUL.txt", "_NUL.txt"],
  ["nul .txt", "_nul .txt"],
  ["COM¹", "_COM¹"],
  ["console.log", "console.log"],
  ["desktop.ini", "_desktop.ini"],
  [".DS_Store", "_DS_Store"],
  ["-rf", "_rf"],
  ["trailing. . ", "trailing"],
  ["a\u0000b\nc", "a_b_c"],
  ["invoice\u202efdp.exe", "invoice_fdp.exe"],
  ["e\u0301", "é"],
  ["\ud800", "\ufffd"],
])("%j becomes %j", (name, safe) => {
  expect(safeFileName(name)).toBe(safe);
});

test("a long name is cut between characters and keeps its ending", () => {
  expect(safeFileName(`${"a".repeat(10_000)}.pdf`)).toBe(`${"a".repeat(123)}.pdf`);
  expect(safeFileName("😀".repeat(100))).toBe("😀".repeat(31));
});

test("whatever it is called, it is the name of one file, and stays the same when it is made safe again", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (name) => {
      const safe = safeFileName(name);
      expect(Buffer.byteLength(safe)).toBeLessThanOrEqual(128);
      expect(safe).not.toMatch(/[/\\:*?"<>|]|^\.|[. ]$|^$/);
      expect(safeFileName(safe)).toBe(safe);
    }),
  );
});
