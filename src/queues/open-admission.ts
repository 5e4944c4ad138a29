import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { limitedAgents } from "../agents/queries.ts";
import type { Db } from "../readmodel/postgres.ts";
import { type Applicant, createAdmission } from "./admission.ts";
import { limitsOf } from "./limits.ts";
import { allQueues } from "./queries.ts";

/** An admission under the limits of every queue and agent as the tables have them, which follows their changes. */
export async function openAdmission<Run extends Applicant>(db: Db) {
  const admission = createAdmission<Run>();
  const [queues, agents] = await Promise.all([allQueues(db), limitedAgents(db)]);
  for (const queue of queues) admission.setQueue(queue.workspaceId, queue.name, limitsOf(queue));
  for (const { workspaceId, agentId, maxRunning } of agents) admission.setAgent(workspaceId, agentId, maxRunning);
  return {
    ...admission,
    /** Takes in a change of what is limited; true when the runs of the event's workspace have to be counted anew. */
    observe({ workspaceId, stream, payload }: Event): boolean {
      const id = stream?.id ?? "";
      if (payload.case === "queueUpdated") {
        return admission.setQueue(workspaceId, id, payload.value.queue && limitsOf(payload.value.queue));
      }
      if (payload.case !== "agentCreated" && payload.case !== "agentUpdated") return false;
      return admission.setAgent(workspaceId, id, payload.value.agent?.limits?.maxRunning ?? 0);
    },
  };
}
