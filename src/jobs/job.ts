import { z } from "zod";

/** Which workers a job is for. */
export interface JobRoute {
  readonly workspaceId: string;
  readonly queue: string;
  readonly handler: string;
}

/**
 * A job: "this run needs a worker". One message stands for a run from when it is queued until it waits, is paused or ends;
 * delivering it again after the ack wait is how a lapsed lease shows. Jobs are derived from the log and may be lost: the reconciler makes new ones.
 */
export interface Job extends JobRoute {
  readonly runId: string;
  /** 0 to 9: 9 is taken before 0. A run has the same one all its life, and so have its jobs. */
  readonly priority: number;
  /** Tells this message from an earlier one for the same run. */
  readonly jobId: string;
  /**
   * Where the run's stream was when the job was made. One from before the run was queued anew, after a wait or a pause, gives
   * no claim to it: it may have been left by a server that died, and the run may have lost its place meanwhile.
   */
  readonly position: bigint;
}

/** Most routes never have another priority than this one: they have one lane, and no claim ever looks at a second. */
export const usualPriority = 0;

const jobSchema = z.object({
  workspaceId: z.string(),
  queue: z.string(),
  handler: z.string(),
  runId: z.string(),
  priority: z.int().min(0).max(9),
  jobId: z.string(),
  position: z.string().transform(BigInt),
});

/** The job's message body. */
export function encodeJob(job: Job): string {
  return JSON.stringify({ ...job, position: String(job.position) });
}

/** The job in a message body. Throws when it is none of ours. */
export function decodeJob(body: string): Job {
  return jobSchema.parse(JSON.parse(body));
}
