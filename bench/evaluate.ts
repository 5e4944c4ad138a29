import type { ClientsProcess } from "./processes/clients.ts";
import type { WorkerProcess } from "./processes/worker.ts";
import { figureOf } from "./report/figure.ts";
import { openBackend } from "./support/backend.ts";
import type { Benchmark } from "./support/bench.ts";
import { processModule, settle, startServer } from "./support/installation.ts";
import { startProcess } from "./support/remote.ts";
import { inTurns, values } from "./support/rounds.ts";

const parallelism = 32;
const repeats = 5;
const casesPerSecond = 60;
/** An evaluation has 2,000 trials at most. */
const maxCases = 400;

/** What it costs to have trials judged and recorded, beside runs that nobody looks at. */
export const evaluate: Benchmark = {
  name: "evaluate",
  summary: "an evaluation of `echo`, beside plain runs of it",
  async run(bench) {
    await using stack = new AsyncDisposableStack();
    bench.progress("evaluate: starting");
    const backend = stack.use(await openBackend(bench.signal));
    const { url } = await startServer(backend, ["server", "projector", "reactors"], stack);
    const worker = stack.use(await startProcess<WorkerProcess>(processModule("worker")));
    // One more for the evaluation itself.
    await worker.call("open", { url, concurrency: parallelism + 1 });
    const clients = stack.use(await startProcess<ClientsProcess>(processModule("clients")));
    const cases = Math.min(maxCases, Math.ceil(bench.seconds * casesPerSecond));
    const trials = cases * repeats;
    const side = (measure: () => Promise<number>) => async () => {
      const perSecond = await measure();
      await settle(url);
      return { perSecond };
    };
    const samples = await inTurns(bench, `evaluate, ${trials} trials`, {
      product: side(() => clients.call("evaluate", { url, cases, repeats, parallelism })),
      plain: side(() => clients.call("runMany", { url, count: trials, concurrency: parallelism })),
    });
    return [
      figureOf({
        name: `${trials} trials, ${parallelism} at a time`,
        unit: "trials/s",
        better: "more",
        product: values(samples.product, "perSecond"),
        limit: { name: "runs of `echo`", rounds: [values(samples.plain, "perSecond")] },
      }),
    ];
  },
};
