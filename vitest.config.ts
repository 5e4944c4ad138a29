import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";

const globalSetup = "test/support/global-setup.ts";
/** Tests that start processes, send signals or change what belongs to the whole process. */
const apart = ["cli", "e2e", "faults", "server", "stack", "tools"].map((folder) => `test/${folder}/**/*.test.ts`);

const common = {
  environment: "node",
  // Forks, not threads: tests start processes, send signals and change the working folder.
  pool: "forks",
  testTimeout: 30_000,
  hookTimeout: 30_000,
} as const;

// The one default export of the repository: vitest reads its settings from it.
export default defineConfig({
  test: {
    globalSetup: existsSync(globalSetup) ? [globalSetup] : [],
    // One more than the cores that we count on: many tests wait for something most of their time.
    maxWorkers: 3,
    projects: [
      { test: { ...common, name: "apart", include: [...apart, "examples/**/*.test.ts"] } },
      // Files share a process, which loads everything once: 610 s in place of 625 s for all tests, two at a time.
      { test: { ...common, name: "together", include: ["test/**/*.test.ts"], exclude: apart, isolate: false } },
    ],
  },
});
