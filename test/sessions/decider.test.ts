import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { CompactSessionRequestSchema } from "../../gen/signalbox/v1/session_service_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { compactSession } from "../../src/sessions/decider.ts";
import { evolveSessionState, sessionAggregate, type SessionState } from "../../src/sessions/state.ts";

const { initial } = sessionAggregate;
const positions = new Map([
  ["run_1", 10n],
  ["run_2", 20n],
  ["run_3", 30n],
]);

const request = (throughRunId: string, summary = "Hello.", turnCount = 1) =>
  create(CompactSessionRequestSchema, { sessionId: "sess_a", throughRunId, summary, turnCount });

function after(state: SessionState, draft: Draft | undefined): SessionState {
  if (draft === undefined) throw new Error("nothing was decided");
  const createTime = timestampFromDate(new Date(1000));
  const stream = { type: "session", id: "sess_a" };
  return evolveSessionState(state, create(EventSchema, { stream, createTime, payload: draft.payload }));
}

const compacted = after(initial, compactSession(initial, request("run_2"), positions));
const reason = (name: string): unknown => expect.objectContaining({ reason: name });

describe("compactSession", () => {
  test("records the summary and what it covers", () => {
    expect(compacted.compaction).toMatchObject({ summary: "Hello.", throughRunId: "run_2", turnCount: 1 });
    expect(compacted.compaction?.compactTime).toEqual(timestampFromDate(new Date(1000)));
  });

  test("records nothing the second time", () => {
    expect(compactSession(compacted, request("run_2"), positions)).toBeUndefined();
  });

  test.each([
    ["a newer run", request("run_3")],
    ["the same run with other words", request("run_2", "Good day.")],
    ["the same run with another count", request("run_2", "Hello.", 2)],
  ])("takes %s", (_what, other) => {
    const { summary, throughRunId, turnCount } = other;
    expect(after(compacted, compactSession(compacted, other, positions)).compaction).toMatchObject({
      summary,
      throughRunId,
      turnCount,
    });
  });

  test("refuses a run when a newer one is covered already", () => {
    expect(() => compactSession(compacted, request("run_1"), positions)).toThrow(reason("INVALID_STATE"));
  });

  test("refuses a run that is none of the session's", () => {
    expect(() => compactSession(initial, request("run_9"), positions)).toThrow(reason("RUN_NOT_FOUND"));
  });

  test("refuses when somebody compacted after the runs were looked up", () => {
    const known = new Map([["run_3", 30n]]);
    expect(() => compactSession(compacted, request("run_3"), known)).toThrow(reason("CONTENTION"));
  });
});
