import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { ApprovalStatus, ApprovalVerdict } from "../../gen/signalbox/v1/approval_pb.ts";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { type Event, EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { KillSwitchScope } from "../../gen/signalbox/v1/policy_pb.ts";
import { RunEndReason } from "../../gen/signalbox/v1/run_pb.ts";
import { createTimeline } from "../../src/cli/views/timeline.ts";
import { jsonValue } from "../../src/client/json.ts";

const startMs = Date.UTC(2026, 10, 21, 8);

function event(afterMs: number, type: string, payload: MessageInitShape<typeof EventSchema>["payload"]): Event {
  return create(EventSchema, {
    position: 7n,
    type,
    stream: { type: "run", id: "run_1" },
    actor: { type: PrincipalType.AGENT, id: "agent_1", onBehalfOf: [{ type: PrincipalType.USER, id: "ada" }] },
    createTime: timestampFromDate(new Date(startMs + afterMs)),
    ...(payload === undefined ? {} : { payload }),
  });
}

test("tells the time since the first event, who acted, and what came out", () => {
  const timeline = createTimeline();
  const input = jsonValue({ hello: "world" });
  const lines = [
    event(0, "run.created", { case: "runCreated", value: { handler: "echo", input, labels: { team: "lab" } } }),
    event(12, "run.claimed", { case: "runClaimed", value: { attempt: 1, workerId: "worker-1" } }),
    event(1500, "run.succeeded", { case: "runSucceeded", value: { output: input } }),
  ].map((item) => timeline.since(item));
  expect(lines).toEqual([
    '   +0.000s  run.created           echo  team=lab  {"hello":"world"}  by agent_1 for ada',
    "   +0.012s  run.claimed           attempt 1 by worker-1",
    '   +1.500s  run.succeeded         {"hello":"world"}',
  ]);
});

test("calls steps and tool calls by their names after they were started", () => {
  const timeline = createTimeline();
  const lines = [
    event(0, "step.started", { case: "stepStarted", value: { stepId: "step_1", key: "k", name: "Read the file" } }),
    event(0, "step.completed", { case: "stepCompleted", value: { stepId: "step_1", output: jsonValue(3) } }),
    event(0, "tool_call.started", { case: "toolCallStarted", value: { toolCallId: "tc_1", tool: "search" } }),
    event(0, "tool_call.failed", {
      case: "toolCallFailed",
      value: { toolCallId: "tc_1", error: { code: "TIMEOUT", message: "no\nanswer" } },
    }),
    event(0, "step.failed", { case: "stepFailed", value: { stepId: "step_2", error: { code: "X", message: "y" } } }),
  ].map((item) => timeline.since(item).slice(34));
  expect(lines).toEqual(["Read the file", "Read the file  3", "search", "search  TIMEOUT: no answer", "step_2  X: y"]);
});

test("says why a run failed, and what its lease left behind", () => {
  const timeline = createTimeline();
  const failed = event(0, "run.failed", {
    case: "runFailed",
    value: { endReason: RunEndReason.ATTEMPTS_EXHAUSTED, error: { code: "FLAKY", message: "again" } },
  });
  expect(timeline.since(failed)).toContain("ATTEMPTS_EXHAUSTED  FLAKY: again");
  const expired = event(0, "run.lease_expired", {
    case: "runLeaseExpired",
    value: { lease: { leaseId: "lease_1", unknownToolCallIds: ["tc_9"] } },
  });
  expect(timeline.since(expired)).toContain("outcome unknown: tc_9");
});

test("tells position, time and stream where events of many streams come together", () => {
  const line = createTimeline().at(event(0, "run.canceled", { case: "runCanceled", value: { reason: "wrong" } }));
  expect(line).toBe("      7  2026-11-21 08:00:00Z  run.canceled          run_1  wrong  by agent_1 for ada");
});

test("says so when an event is of a kind that this program does not know", () => {
  expect(createTimeline().since(event(0, "run.teleported", undefined))).toContain("upgrade");
});

test("cuts long details to a line", () => {
  const output = jsonValue("x".repeat(10_000));
  const line = createTimeline().since(event(0, "run.succeeded", { case: "runSucceeded", value: { output } }));
  expect(line.length).toBeLessThan(200);
  expect(line).toMatch(/…$/);
});

test("tells what stands between a run and the outside, and who let it pass", () => {
  const timeline = createTimeline();
  const decision = { reasonCodes: ["EXTERNAL_WRITE"] };
  const lines = [
    event(0, "tool_call.gated", {
      case: "toolCallGated",
      value: { toolCallId: "tc_1", tool: "mail.send", approvalId: "appr_1", arguments: jsonValue({ n: 1 }), decision },
    }),
    event(0, "approval.decided", {
      case: "approvalDecided",
      value: { verdict: ApprovalVerdict.APPROVE, status: ApprovalStatus.APPROVED, comment: "fine" },
    }),
    event(0, "run.approval_decided", {
      case: "runApprovalDecided",
      value: { approvalId: "appr_1", status: ApprovalStatus.APPROVED },
    }),
    event(0, "tool_call.succeeded", { case: "toolCallSucceeded", value: { toolCallId: "tc_1" } }),
    event(0, "kill_switch.flipped", {
      case: "killSwitchFlipped",
      value: { on: true, scope: KillSwitchScope.INSTALLATION, reason: "wrong prices" },
    }),
    event(0, "tool_call.gated", { case: "toolCallGated", value: { toolCallId: "tc_2", tool: "bank.transfer" } }),
  ].map((item) => timeline.since(item).slice(34));
  expect(lines).toEqual([
    'mail.send  needs appr_1  EXTERNAL_WRITE  {"n":1}',
    "APPROVE  now APPROVED  fine  by agent_1 for ada",
    "appr_1  APPROVED",
    "mail.send",
    "on  INSTALLATION  wrong prices  by agent_1 for ada",
    "bank.transfer  a kill switch is on",
  ]);
});
