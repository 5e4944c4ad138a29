import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient } from "../../src/client/client.ts";
import { createAndClaim } from "./claims.ts";
import { furnish } from "./furnished.ts";
import { furnishFiles } from "./furnished-files.ts";

/** Ids of a workspace, by the name of the field that takes them. */
export type Ids = Readonly<Record<string, string>>;

/** A schedule that does nothing for a year. */
export const yearly = { name: "x", cron: "@yearly", run: { handler: "nobody" } };

/** A workspace with something of every kind in it. */
export async function fill(client: SignalboxClient, workspaceId: string): Promise<Ids> {
  const { agent } = await client.agents.createAgent({ name: "planner", requestId: "request-of-a" });
  const agentId = agent?.agentId ?? "";
  const { schedule } = await client.schedules.createSchedule({ ...yearly, requestId: "request-of-a" });
  const scheduleId = schedule?.scheduleId ?? "";
  await client.schedules.triggerSchedule({ scheduleId, requestId: "request-of-a" });
  const { document } = await client.documents.addDocument({ text: "of a", requestId: "request-of-a" });
  await client.queues.putQueue({ queue: { name: "of_a", maxRunning: 1 } });
  const people = await furnish(client, "request-of-a");
  const files = await furnishFiles(client, "request-of-a");
  const { roomId, threadId } = people;
  const inRoom = { roomId, threadId, sessionId: "sess_a", requestId: "request-of-a" };
  const headers = { "x-correlation-id": "correlation-of-a" };
  const created = await client.runs.createRun({ handler: "by_hand", input: jsonValue("of a"), ...inRoom }, { headers });
  const { run, leaseToken } = await createAndClaim(client);
  const { step } = await client.engine.startStep({ leaseToken, key: "a" });
  const call = { leaseToken, key: "a", tool: "t", effect: ToolEffect.READ };
  const { toolCall, position: minPosition } = await client.engine.startToolCall(call);
  const { events } = await client.events.listEvents({ minPosition });
  return {
    agent_id: agentId,
    run_id: run.runId,
    parent_run_id: run.runId,
    child_run_id: run.runId,
    room_id: roomId,
    thread_id: threadId,
    message_id: people.messageId,
    reply_to_message_id: people.messageId,
    approval_id: people.approvalId,
    incident_id: people.incidentId,
    idempotency_key: "request-of-a",
    session_id: created.run?.sessionId ?? "",
    request_id: "request-of-a",
    correlation_id: "correlation-of-a",
    worker_id: "by_hand",
    workspace_id: workspaceId,
    lease_token: leaseToken,
    step_id: step?.stepId ?? "",
    tool_call_id: toolCall?.toolCallId ?? "",
    event_id: events[0]?.eventId ?? "",
    document_id: document?.documentId ?? "",
    schedule_id: scheduleId,
    last_run_id: run.runId,
    through_run_id: run.runId,
    after_run_id: run.runId,
    "stream.id": run.runId,
    artifact_id: files.artifactId,
    output_artifact_id: files.artifactId,
    upload_id: files.uploadId,
    grant_id: files.grantId,
    link_id: files.linkId,
    link_url: files.linkUrl,
    suite_id: files.suiteId,
    evaluation_id: files.evaluationId,
    baseline_evaluation_id: files.evaluationId,
  };
}

/** Ids that never were, of the same form. */
export const neverWere: Ids = {
  agent_id: "agt_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  parent_run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  child_run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  room_id: "room_never",
  thread_id: "th_never",
  message_id: "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  reply_to_message_id: "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  approval_id: "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  incident_id: "inc_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  idempotency_key: "request-that-never-was",
  session_id: "sess_never",
  request_id: "request-that-never-was",
  correlation_id: "correlation-that-never-was",
  worker_id: "no_worker",
  workspace_id: "ws_never",
  lease_token: "bm8gdG9rZW4gb2Ygb3VycywgYnV0IGFzIGxvbmcgYXMgb25lLCBvciBzbw",
  step_id: "step_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  tool_call_id: "tc_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  event_id: "00000000-0000-4000-8000-000000000000",
  document_id: "doc_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  schedule_id: "sch_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  last_run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  through_run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  after_run_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  "stream.id": "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  artifact_id: "art_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  output_artifact_id: "art_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  upload_id: "art_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  grant_id: "grant_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  link_id: "link_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  suite_id: "suite_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  evaluation_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
  baseline_evaluation_id: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV",
};
