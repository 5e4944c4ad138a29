import { z } from "zod";

/** Which workers a job is for. */
export interface JobRoute {
  readonly workspaceId: string;
  readonly queue: string;
  readonly handler: string;
}

/**
 * A job: "this run needs a worker". One message stands for a run from its creation to its end; delivering it again after
 * the ack wait is how a lapsed lease shows. Jobs are derived from the log and may be lost: the reconciler makes new ones.
 */
export interface Job extends JobRoute {
  readonly runId: string;
  /** Tells this message from an earlier one for the same run. */
  readonly jobId: string;
}

const jobSchema = z.object({
  workspaceId: z.string(),
  queue: z.string(),
  handler: z.string(),
  runId: z.string(),
  jobId: z.string(),
});

/** The job's message body. */
export function encodeJob(job: Job): string {
  return JSON.stringify(job);
}

/** The job in a message body. Throws when it is none of ours. */
export function decodeJob(body: string): Job {
  return jobSchema.parse(JSON.parse(body));
}
