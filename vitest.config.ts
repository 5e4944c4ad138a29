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
      // One process after another loads everything once: that is a fifth of the time of all tests.
      { test: { ...common, name: "together", include: ["test/**/*.test.ts"], exclude: apart, isolate: false } },
    ],
  },
});
