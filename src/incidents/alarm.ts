import type { Logger } from "pino";
import { createBackground } from "../kernel/background.ts";
import { type ArtifactDamage, artifactDamaged, fencedWrite, payloadMismatch, type RunFacts } from "./causes.ts";
import type { Occurrence } from "./occurrence.ts";
import type { Reports } from "./reports.ts";

/**
 * Who is told, in the middle of a call, of what should not have happened. Never throws and never waits: what is told is
 * reported in the background, and dropped where too much of it waits. Disposing it drops what waits.
 */
export interface OpenAlarm extends Disposable {
  /** A worker has written under a lease that was not its own any more. */
  fencedWrite(workspaceId: string, runId: string, leaseId: string): void;
  /** What was to be executed is not what was held back or approved. */
  payloadMismatch(workspaceId: string, runId: string, toolCallId: string): void;
  /** The bytes of an artifact are not what was stored, or are not there. */
  artifactDamaged(damage: ArtifactDamage): void;
}

/** What an alarm needs. */
export interface AlarmDeps {
  readonly reports: Reports;
  /** What is known of a run; undefined when there is none. STORE_UNAVAILABLE. */
  readonly findRun: (workspaceId: string, runId: string) => Promise<RunFacts | undefined>;
  /** Where the log stands, as this process knows. */
  readonly position: () => bigint;
  readonly log: Logger;
}

/** Reports that wait at most. */
const maxWaiting = 200;
/** What was told last is remembered, so that a worker that writes again and again is reported once a minute at most. */
const maxRemembered = 2_000;
const repeatMs = 60_000;

/** An alarm that nobody has raised yet. */
export function openAlarm({ reports, findRun, position, log }: AlarmDeps): OpenAlarm {
  const stop = new AbortController();
  const background = createBackground(log, stop.signal);
  const told = new Map<string, number>();
  let waiting = 0;

  /** `describe` says what happened, of a run if there is one; nothing is reported when it says nothing. */
  function raise(
    workspaceId: string,
    runId: string,
    what: string,
    describe: (run: RunFacts | undefined) => Occurrence | undefined,
  ): void {
    const key = `${workspaceId}/${runId}/${what}`;
    const nowMs = performance.now();
    if (stop.signal.aborted || nowMs - (told.get(key) ?? -Infinity) < repeatMs) return;
    if (waiting === maxWaiting) {
      log.warn({ workspaceId, runId, what }, "alarm dropped: too many wait to be reported");
      return;
    }
    remember(key, nowMs);
    waiting++;
    const at = position();
    const report = async () => {
      const found = describe(runId === "" ? undefined : await findRun(workspaceId, runId));
      if (found !== undefined) await reports.report(found, at);
      waiting--;
    };
    background.start(report, () => {
      waiting--;
      told.delete(key);
      log.error({ workspaceId, runId, what }, "alarm not reported");
    });
  }

  function remember(key: string, nowMs: number): void {
    told.delete(key);
    told.set(key, nowMs);
    const [oldest] = told.size > maxRemembered ? told.keys() : [];
    if (oldest !== undefined) told.delete(oldest);
  }

  return {
    fencedWrite(workspaceId, runId, leaseId) {
      raise(workspaceId, runId, leaseId, (run) => run && fencedWrite(workspaceId, runId, run));
    },
    payloadMismatch(workspaceId, runId, toolCallId) {
      raise(workspaceId, runId, toolCallId, (run) => run && payloadMismatch(workspaceId, { runId, toolCallId }, run));
    },
    artifactDamaged(damage) {
      const { workspaceId, runId, artifactId } = damage;
      raise(workspaceId, runId, artifactId, (run) => artifactDamaged(damage, run));
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}
