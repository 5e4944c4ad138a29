import { describe, expect, it } from "vitest";
import { shareReads } from "../../src/kernel/shared-reads.ts";

/** Reads that end when they are told to. */
function reads() {
  const begun: { key: string; end: PromiseWithResolvers<number> }[] = [];
  const read = shareReads((key) => {
    const end = Promise.withResolvers<number>();
    begun.push({ key, end });
    return end.promise;
  });
  return { read, begun };
}

describe("shared reads", () => {
  it("lets those who come during a read share the next one, which is begun after they came", async () => {
    const { read, begun } = reads();
    const [first, second, third] = [read("a"), read("a"), read("a")];
    expect(begun).toHaveLength(1);
    begun[0]?.end.resolve(1);
    expect(await first).toBe(1);
    await expect.poll(() => begun.length).toBe(2);
    const fourth = read("a");
    begun[1]?.end.resolve(2);
    expect(await Promise.all([second, third])).toEqual([2, 2]);
    await expect.poll(() => begun.length).toBe(3);
    begun[2]?.end.resolve(3);
    expect(await fourth).toBe(3);
  });

  it("reads anew for who comes after the end", async () => {
    const { read, begun } = reads();
    const first = read("a");
    begun[0]?.end.resolve(1);
    await first;
    const second = read("a");
    begun[1]?.end.resolve(2);
    expect(await second).toBe(2);
  });

  it("keeps keys apart", async () => {
    const { read, begun } = reads();
    const both = [read("a"), read("b")];
    expect(begun.map(({ key }) => key)).toEqual(["a", "b"]);
    for (const { key, end } of begun) end.resolve(key === "a" ? 1 : 2);
    expect(await Promise.all(both)).toEqual([1, 2]);
  });

  it("reads for those who wait when the read before has failed", async () => {
    const { read, begun } = reads();
    const first = read("a");
    const second = read("a");
    begun[0]?.end.reject(new Error("away"));
    await expect(first).rejects.toThrow("away");
    await expect.poll(() => begun.length).toBe(2);
    begun[1]?.end.resolve(2);
    expect(await second).toBe(2);
  });
});
