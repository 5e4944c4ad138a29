import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Feed } from "../eventlog/feed.ts";
import type { Positions } from "../readmodel/positions.ts";

/** A registry with the process's own figures, the log's head and how far the read models are. */
export function createMetrics(feed: Feed, positions: Positions): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, read: () => bigint) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(Number(read()));
      },
    });
  gauge("signalbox_log_head_position", "Newest position that this process has seen in the log.", () => feed.position);
  gauge("signalbox_projected_position", "Position that the read models have reached.", () => positions.known);
  return registry;
}
