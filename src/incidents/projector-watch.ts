import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { sleep } from "../kernel/wait.ts";
import type { Db } from "../readmodel/postgres.ts";
import { projectorStalled } from "./causes.ts";
import type { IncidentReactorOptions } from "./reactor.ts";

/** How long the read models may stand still while the log goes on. */
const defaultStallMs = 30_000;
/** The checkpoint is looked at so many times in that time. */
const looks = 15;
/** Workspaces that are told of one stall, and events that are looked through to find them. */
const maxWorkspaces = 20;
const maxEvents = 5_000;
/** The workspace of the installation itself: no call can name it, so nobody would see an incident in it. */
const installationWorkspace = "ws_installation";

/** Reports read models that stand still, once per stall, in the workspaces that wait for them; until the signal aborts. */
export async function watchProjector(options: IncidentReactorOptions, signal: AbortSignal): Promise<void> {
  const { postgres, feed, clock, log, stallMs = defaultStallMs } = options;
  let seen = { position: -1n, timeMs: 0, reported: false };
  while (!signal.aborted) {
    try {
      // Tables that had everything need not be asked while nothing comes.
      const position = seen.position < feed.position ? await readCheckpoint(postgres.db) : seen.position;
      const nowMs = clock.now().getTime();
      // At the head there is nothing to wait for: time counts from when there is.
      if (position !== seen.position || feed.position <= position) {
        seen = { position, timeMs: nowMs, reported: false };
      } else if (!seen.reported && nowMs - seen.timeMs >= stallMs) {
        await reportStall(options, position, signal);
        seen = { ...seen, reported: true };
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "read models not looked at, repeating");
    }
    await sleep(Math.max(stallMs / looks, 10), signal);
  }
}

async function reportStall(
  { eventLog, feed, reports, log }: IncidentReactorOptions,
  checkpoint: bigint,
  signal: AbortSignal,
): Promise<void> {
  const { position } = feed;
  log.error({ checkpoint: String(checkpoint), head: String(position) }, "the read models stand still");
  const waiting = new Map<string, Event>();
  const upTo = position < checkpoint + BigInt(maxEvents) ? position : checkpoint + BigInt(maxEvents);
  for await (const { event } of eventLog.read(eventLog.subjects.all, checkpoint, upTo, signal)) {
    if (event.workspaceId !== installationWorkspace && !waiting.has(event.workspaceId)) {
      waiting.set(event.workspaceId, event);
    }
    if (waiting.size === maxWorkspaces) break;
  }
  for (const event of waiting.values()) await reports.report(projectorStalled(event, checkpoint), position, event);
}

async function readCheckpoint(db: Db): Promise<bigint> {
  const { rows } = await db.query<{ position: bigint }>({
    name: "checkpoint_watch",
    text: "select position from checkpoints where name = 'projector'",
  });
  return rows[0]?.position ?? 0n;
}
