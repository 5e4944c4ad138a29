import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readPage } from "../../src/readmodel/page.ts";

const refused: unknown = expect.objectContaining({ reason: "INVALID_REQUEST" });

test.each([
  [0, 50],
  [1, 1],
  [200, 200],
  [201, 200],
  [2_147_483_647, 200],
])("a page_size of %i gives %i", (pageSize, size) => {
  expect(readPage("runs", {}, pageSize, "")).toMatchObject({ size, after: undefined });
});

test("a token leads behind the row it was made for", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), fc.object(), (key, filters) => {
      const token = readPage("runs", filters, 0, "").tokenAfter(key);
      expect(readPage("runs", filters, 10, token).after).toBe(key);
    }),
  );
});

test("a token of another list or of other filters is refused", () => {
  const token = readPage("runs", { roomId: "room_1", min: 1n }, 0, "").tokenAfter(7n);
  expect(() => readPage("agents", { roomId: "room_1", min: 1n }, 0, token)).toThrow(refused);
  expect(() => readPage("runs", { roomId: "room_2", min: 1n }, 0, token)).toThrow(refused);
  expect(() => readPage("runs", { roomId: "room_1", min: 2n }, 0, token)).toThrow(refused);
});

test("what is no token is refused", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (token) => {
      expect(() => readPage("runs", {}, 0, token)).toThrow(refused);
    }),
  );
});
