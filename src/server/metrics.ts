import type { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Counts what the edge does. `method` is `package.Service/Method`. */
export interface CallMetrics {
  /** A unary call has ended, `seconds` after its handler was asked; no code for success. */
  unaryEnded(method: string, code: Code | undefined, seconds: number): void;
  /** A stream has begun. */
  streamOpened(method: string): void;
  /** A stream that began has ended; no code for success. */
  streamEnded(method: string, code: Code | undefined): void;
  /** A call was refused before its handler was asked. */
  refused(method: string, code: Code): void;
}

/** Metrics of calls, registered in `registry`. */
export function createCallMetrics(registry: Registry): CallMetrics {
  const requests = new Counter({
    name: "signalbox_rpc_requests_total",
    help: "Calls that have ended, by method and code; code is ok for success.",
    labelNames: ["method", "code"],
    registers: [registry],
  });
  const duration = new Histogram({
    name: "signalbox_rpc_duration_seconds",
    help: "Time from a unary call's handler being asked to its answer; long polls included.",
    labelNames: ["method"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
    registers: [registry],
  });
  const streams = new Gauge({
    name: "signalbox_rpc_open_streams",
    help: "Streams open now, by method.",
    labelNames: ["method"],
    registers: [registry],
  });
  const ended = (method: string, code: Code | undefined) =>
    requests.inc({ method, code: code === undefined ? "ok" : codeToString(code) });
  return {
    unaryEnded(method, code, seconds) {
      ended(method, code);
      duration.observe({ method }, seconds);
    },
    streamOpened: (method) => streams.inc({ method }),
    streamEnded(method, code) {
      streams.dec({ method });
      ended(method, code);
    },
    refused: ended,
  };
}
