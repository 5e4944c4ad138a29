import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { Decision } from "../../gen/signalbox/v1/policy_pb.ts";
import { MessagePostedSchema } from "../../gen/signalbox/v1/room_event_pb.ts";
import {
  RunClaimedSchema,
  RunFailedSchema,
  RunLeaseExpiredSchema,
  RunPausedSchema,
  ToolCallGatedSchema,
} from "../../gen/signalbox/v1/run_event_pb.ts";
import { PauseReason, RunEndReason } from "../../gen/signalbox/v1/run_pb.ts";
import { concernsRun, occurrencesIn, type RunFacts } from "../../src/incidents/causes.ts";
import { samples } from "../golden/samples.ts";
import { runEvent } from "./incidents.ts";

const run: RunFacts = {
  roomId: "room_1",
  zone: Zone.SUPERVISED,
  handler: "echo",
  toolOf: (id) => (id.startsWith("tc_mail") ? "mail" : "bank"),
};
const failed = (endReason: RunEndReason, code = "BROKEN") =>
  runEvent({ case: "runFailed", value: create(RunFailedSchema, { endReason, error: { code, message: "no" } }) });

test("a run whose attempts are used up is an incident of its handler and error code, failed or paused alike", () => {
  const paused = create(RunPausedSchema, { reason: PauseReason.ATTEMPTS_EXHAUSTED, error: { code: "BROKEN" } });
  for (const event of [failed(RunEndReason.ATTEMPTS_EXHAUSTED), runEvent({ case: "runPaused", value: paused })]) {
    expect(concernsRun(event)).toBe(true);
    const [found, ...others] = occurrencesIn(event, run);
    expect(others).toEqual([]);
    expect(found).toMatchObject({
      workspaceId: "ws_1",
      roomId: "room_1",
      zone: Zone.SUPERVISED,
      kind: IncidentKind.ATTEMPTS_EXHAUSTED,
      cause: "attempts_exhausted/echo/BROKEN",
      links: [
        { type: "run", id: "run_1" },
        { type: "event", id: "event-of-run_1" },
      ],
    });
  }
});

test.each([RunEndReason.HANDLER_FAILED, RunEndReason.DEADLINE_EXCEEDED])(
  "a run that fails otherwise (%s) is none",
  (reason) => {
    expect(concernsRun(failed(reason))).toBe(false);
    expect(occurrencesIn(failed(reason), run)).toEqual([]);
  },
);

test("a cause is one line that Postgres can hold, whatever the handler calls its errors", () => {
  const [found] = occurrencesIn(failed(RunEndReason.ATTEMPTS_EXHAUSTED, "a/b\0\n`c`"), run);
  expect(found?.cause).toBe("attempts_exhausted/echo/a%2Fb%00%0A%60c%60");
  expect(found?.description).toContain("`no`");
});

test("tool calls that a lost lease leaves behind are an incident for each tool", () => {
  const lost = { leaseId: "lease_1", unknownToolCallIds: ["tc_mail1", "tc_bank", "tc_mail2"] };
  const events = [
    runEvent({ case: "runClaimed", value: create(RunClaimedSchema, { lost }) }),
    runEvent({ case: "runLeaseExpired", value: create(RunLeaseExpiredSchema, { lease: lost }) }),
  ];
  for (const event of events) {
    expect(concernsRun(event)).toBe(true);
    expect(occurrencesIn(event, run)).toMatchObject([
      {
        kind: IncidentKind.OUTCOME_UNKNOWN,
        cause: "outcome_unknown/mail",
        links: [
          { type: "run" },
          { type: "tool_call", id: "tc_mail1" },
          { type: "tool_call", id: "tc_mail2" },
          { type: "event" },
        ],
      },
      { cause: "outcome_unknown/bank" },
    ]);
  }
});

test("a run that loses its last lease in the middle of a tool call is two incidents", () => {
  const lease = { leaseId: "lease_1", unknownToolCallIds: ["tc_bank"] };
  const value = create(RunFailedSchema, {
    lease,
    endReason: RunEndReason.ATTEMPTS_EXHAUSTED,
    error: { code: "LEASE_LOST" },
  });
  const causes = occurrencesIn(runEvent({ case: "runFailed", value }), run).map(({ cause }) => cause);
  expect(causes).toEqual(["attempts_exhausted/echo/LEASE_LOST", "outcome_unknown/bank"]);
});

test("a write that a kill switch holds back is an incident of its flip; one that waits for people is none", () => {
  const decision = { decision: Decision.DENY, reasonCodes: ["KILL_SWITCH_ON"], killEpoch: 42n };
  const gated = create(ToolCallGatedSchema, { tool: "mail", toolCallId: "tc_1", decision });
  const event = runEvent({ case: "toolCallGated", value: gated });
  expect(concernsRun(event)).toBe(false);
  expect(occurrencesIn(event, undefined)).toMatchObject([{ kind: IncidentKind.KILL_SWITCH, cause: "kill_switch/42" }]);
  const asked = create(ToolCallGatedSchema, { ...gated, approvalId: "appr_1" });
  expect(occurrencesIn(runEvent({ case: "toolCallGated", value: asked }), undefined)).toEqual([]);
});

test("a mention that gets no run is an incident of its thread", () => {
  const posted = create(MessagePostedSchema, { text: "@a", mentionDepth: 8, mentionsRefused: true });
  const event = { ...runEvent({ case: "messagePosted", value: posted }), threadId: "th_1" };
  expect(occurrencesIn(event, undefined)).toMatchObject([
    { kind: IncidentKind.MENTION_LOOP, cause: "mention_loop/room_1/th_1" },
  ]);
  const fine = create(MessagePostedSchema, { text: "@a", mentionDepth: 3 });
  expect(occurrencesIn(runEvent({ case: "messagePosted", value: fine }), undefined)).toEqual([]);
});

test("no incident is about an incident", () => {
  for (const event of samples.filter(({ type }) => type.startsWith("incident."))) {
    expect(concernsRun(event)).toBe(false);
    expect(occurrencesIn(event, run)).toEqual([]);
  }
});
