import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";

const globalSetup = "test/support/global-setup.ts";

// The one default export of the repository: vitest reads its settings from it.
export default defineConfig({
  test: {
    environment: "node",
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    globalSetup: existsSync(globalSetup) ? [globalSetup] : [],
    // Forks, not threads: tests start processes, send signals and change the working folder.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
