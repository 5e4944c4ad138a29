import type { Jobs } from "../jobs/jobs.ts";
import type { Candidate } from "./admission.ts";

/** Makes the job of a queued run, unless it has one that gives a claim to it. */
export async function makeJob(
  jobs: Pick<Jobs, "publish" | "withdraw">,
  { workspaceId, runId, queue, handler, priority, position, requeued }: Candidate,
  jobId: string,
): Promise<void> {
  const job = { workspaceId, runId, queue, handler, priority, position, jobId };
  if ((await jobs.publish(job)) || !requeued) return;
  // The job from before is not acknowledged yet, or never will be because its server died. It is void either way.
  await jobs.withdraw(job);
  await jobs.publish(job);
}
