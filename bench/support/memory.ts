/** The resident memory of this process in bytes, after a collection. Needs `--expose-gc`. */
export async function residentBytes(): Promise<number> {
  if (globalThis.gc === undefined) throw new Error("start this process with --expose-gc");
  // The second one takes what finalizers of the first let go.
  for (let i = 0; i < 2; i++) await globalThis.gc({ execution: "async", type: "major" });
  return process.memoryUsage.rss();
}
