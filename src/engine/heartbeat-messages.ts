import type { MessagePort } from "node:worker_threads";
import type { Identity } from "../client/identity.ts";
import type { NodeTransportOptions } from "../client/node-transport.ts";
import type { WorkerLog } from "./log.ts";

/** What the heartbeat thread is started with. */
export interface ThreadData {
  readonly port: MessagePort;
  /** One Int32 that the main thread counts up for as long as its event loop turns. */
  readonly tick: SharedArrayBuffer;
  /** How to reach the server. */
  readonly client: Identity & NodeTransportOptions;
  readonly workerId: string;
  /** How long the main thread may hold still before its leases are left to lapse, in milliseconds. */
  readonly maxBlockedMs: number;
}

/** What the main thread says. Leases go by a number. */
export type ToThread =
  | {
      readonly type: "keep";
      readonly id: number;
      readonly runId: string;
      readonly leaseToken: string;
      readonly ttlMs: number;
    }
  | { readonly type: "end"; readonly id: number };

/** What the heartbeat thread says. */
export type FromThread =
  | { readonly type: "ended"; readonly id: number; readonly why: "canceled" | "lease_lost" }
  | { readonly type: "pause"; readonly id: number }
  | {
      /** A line for the log of the lease, or of the worker. */
      readonly type: "line";
      readonly id: number | undefined;
      readonly level: keyof WorkerLog;
      readonly fields: object;
      readonly message: string;
    };

/** How often the main thread counts, and how often the heartbeat thread looks. */
export const tickMs = 250;
