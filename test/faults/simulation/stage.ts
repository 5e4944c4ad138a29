import type { Recorder } from "../../support/history.ts";
import type { Seeded } from "../../support/seeded.ts";
import type { SimulatedServer } from "./server.ts";

/** What the actors of a simulation work with. */
export interface Stage {
  readonly random: Seeded;
  readonly leaseTtlMs: number;
  /** One of the servers, as it is now. */
  server(): SimulatedServer;
  /** Writes down what the caller does. */
  recorder(caller: string): Recorder;
  /** True while workers dawdle and vanish, servers crash, and the broker misbehaves. */
  inTrouble(): boolean;
  /** True when everything is done, or nobody waits any longer. */
  isOver(): boolean;
}
