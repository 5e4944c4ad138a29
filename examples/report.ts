import { createReadStream } from "node:fs";
import { defineHandler } from "signalbox/worker";
import { z } from "zod";

/** Keeps a file of the worker's machine, and a report about it. */
export const report = defineHandler({ input: z.object({ path: z.string() }) }, async (ctx, { path }) => {
  const rows = await ctx.artifact("rows.jsonl", () => createReadStream(path), { contentType: "application/jsonl" });
  const about = await ctx.artifact("report.md", `# ${rows.sizeBytes} bytes of ${path}\n`);
  return { rows: rows.artifactId, report: about.artifactId };
});
