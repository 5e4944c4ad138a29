import { createMemoryBlobs } from "../../src/blobs/memory.ts";
import { describeBlobStore } from "./contract.ts";

describeBlobStore("memory", async () => {
  const store = createMemoryBlobs();
  return { store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
});
