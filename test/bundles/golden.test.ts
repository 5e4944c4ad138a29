import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { verifyBundle } from "../../src/bundles/verify.ts";
import { evolveRun } from "../../src/runs/resource.ts";
import { createMemoryBundles, runId } from "./memory-bundles.ts";

// A bundle that somebody keeps must verify for ever. A released file is never edited: when what is written for the same
// events changes, the format's number goes up, the verifier learns both, and a file of the new one comes beside this one.
const golden = fileURLToPath(new URL("../golden/bundles/signalbox-bundle-v1.zip", import.meta.url));

beforeAll(async () => {
  if (process.env.GOLDEN !== "write" || existsSync(golden)) return;
  const bundles = createMemoryBundles();
  await bundles.begin();
  await bundles.add({ name: "report.txt", content: "all is well\n" });
  await bundles.add({ name: "purged.txt", content: "gone" }).then((artifact) => (artifact.status = "purged"));
  await bundles.end();
  await writeFile(golden, await bundles.bytes());
});

test("a bundle that was written before still verifies", async () => {
  expect(await verifyBundle(golden, { evolveRun })).toMatchObject({
    runId,
    eventCount: 6,
    headPosition: 6n,
    artifacts: [
      { name: "report.txt", status: "available" },
      { name: "purged.txt", status: "purged", omitted: "gone" },
    ],
  });
});
