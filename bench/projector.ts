import type { ProjectorProcess } from "./processes/projector.ts";
import { figureOf } from "./report/figure.ts";
import { openBackend } from "./support/backend.ts";
import type { Benchmark } from "./support/bench.ts";
import { processModule } from "./support/installation.ts";
import { startProcess } from "./support/remote.ts";
import { inTurns, values } from "./support/rounds.ts";

const eventsPerSecond = 50_000;

/** How fast the read models are made from a log, as in a rebuild. */
export const projector: Benchmark = {
  name: "projector",
  summary: "folding a log into the read models, beside inserting the same rows",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    const events = Math.ceil(bench.seconds * eventsPerSecond);
    bench.progress(`projector: starting, and making a log of ${events} events`);
    const { databaseUrl } = stack.use(await openBackend(bench.signal));
    const process = stack.use(await startProcess<ProjectorProcess>(processModule("projector")));
    await process.call("prepare", { databaseUrl, events });
    const samples = await inTurns(bench, "projector", {
      product: async () => ({ perSecond: await process.call("project", databaseUrl) }),
      insert: async () => ({ perSecond: await process.call("insert", databaseUrl) }),
    });
    return [
      figureOf({
        name: `${events} events into empty tables`,
        unit: "events/s",
        better: "more",
        product: values(samples.product, "perSecond"),
        limit: { name: "raw insert of the same rows", rounds: [values(samples.insert, "perSecond")] },
        target: { minRatio: 0.7 },
      }),
    ];
  },
};
