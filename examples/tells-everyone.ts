import { defineHandler } from "signalbox/worker";
import { z } from "zod";

const input = z.object({
  input: z.unknown(),
  output: z.object({ told: z.array(z.string()).default([]) }),
  expected: z.object({ stations: z.array(z.string()) }),
});
const output = z.object({ pass: z.boolean(), reason: z.string().optional() });

/** A check of an evaluation: every station that is expected has been told, in any order. */
export const tellsEveryone = defineHandler({ input, output }, (_ctx, { output: { told }, expected }) => {
  const missing = expected.stations.filter((station) => !told.includes(station));
  return missing.length === 0 ? { pass: true } : { pass: false, reason: `nobody told ${missing.join(", ")}` };
});
