import type { Logger } from "pino";

/** Whether this server should get traffic. */
export interface ReadinessReport {
  readonly ready: boolean;
  /** Per part: `ok`, or what is wrong with it. */
  readonly parts: Readonly<Record<string, string>>;
}

/** The current report, at most a second old. Never rejects. */
export type CheckReadiness = () => Promise<ReadinessReport>;

/** What readiness is made of. */
export interface ReadinessOptions {
  /** Asks each part: `ok`, or what is wrong with it. */
  readonly parts: () => Promise<Record<string, string>>;
  /** Once aborted the server is not ready, whatever its parts say. */
  readonly draining: AbortSignal;
  readonly log: Logger;
}

const maxAgeMs = 1_000;
const timeoutMs = 5_000;

/** Probes are open to all: however many come, the parts are asked once at a time and at most once a second. */
export function createReadiness({ parts, draining, log }: ReadinessOptions): CheckReadiness {
  let report: Promise<ReadinessReport> | undefined;
  let askedMs = 0;
  return () => {
    if (draining.aborted) return Promise.resolve({ ready: false, parts: { server: "draining" } });
    if (report === undefined || performance.now() - askedMs > maxAgeMs) {
      askedMs = performance.now();
      report = ask(parts, log);
    }
    return report;
  };
}

async function ask(parts: ReadinessOptions["parts"], log: Logger): Promise<ReadinessReport> {
  const expired = Promise.withResolvers<Record<string, string>>();
  const timer = setTimeout(() => expired.resolve({ server: `no answer from its parts in ${timeoutMs} ms` }), timeoutMs);
  try {
    const answers = await Promise.race([parts(), expired.promise]);
    return { ready: Object.values(answers).every((answer) => answer === "ok"), parts: answers };
  } catch (error) {
    log.error({ err: error }, "readiness check failed");
    return { ready: false, parts: { server: "readiness check failed; the server's log says why" } };
  } finally {
    clearTimeout(timer);
  }
}
