import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { SuiteSchema, SuiteStatus } from "../../gen/signalbox/v1/eval_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { archiveSuite, putSuite } from "../../src/evals/decider.ts";
import { evolveSuiteState, type SuiteState } from "../../src/evals/state.ts";

const suiteId = "suite_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const absent: SuiteState = { status: "absent" };
const wanted = (fields: MessageInitShape<typeof SuiteSchema> = {}) =>
  create(SuiteSchema, { name: "signals", cases: [{ key: "red" }], ...fields });

/** The state after a decision. */
function after(state: SuiteState, draft: Draft | undefined): SuiteState {
  if (draft === undefined) throw new Error("nothing was decided");
  const streamSequence = state.status === "absent" ? 1n : BigInt(state.suite.etag) + 1n;
  return evolveSuiteState(
    state,
    create(EventSchema, {
      position: streamSequence * 10n,
      workspaceId: "ws_one",
      stream: { type: "suite", id: suiteId },
      streamSequence,
      actor: { type: PrincipalType.USER, id: `user_${streamSequence}` },
      createTime: timestampFromMs(Number(streamSequence) * 1_000),
      payload: draft.payload,
    }),
  );
}

const put = (state: SuiteState, fields?: MessageInitShape<typeof SuiteSchema>) =>
  after(state, putSuite(state, wanted(fields)));
const suiteOf = (state: SuiteState) => (state.status === "absent" ? undefined : state.suite);

describe("a put", () => {
  test("makes the first version, defaults filled in, and the next one for another content", () => {
    const first = put(absent);
    expect(suiteOf(first)).toMatchObject({
      suiteId,
      version: 1n,
      status: SuiteStatus.ACTIVE,
      cases: [{ key: "red", weight: 1 }],
      thresholds: { minPassRate: 0.8, confidence: 0.95, maxRegression: 0.1, minRepeats: 3 },
      createBy: { id: "user_1" },
    });
    const second = suiteOf(put(first, { description: "more" }));
    expect(second).toMatchObject({ version: 2n, etag: "2", createBy: { id: "user_1" }, updateBy: { id: "user_2" } });
    expect(second?.createTime).toEqual(timestampFromMs(1_000));
  });

  test("records nothing when the suite says it already, whatever the etag", () => {
    const state = put(absent);
    expect(putSuite(state, wanted())).toBeUndefined();
    expect(putSuite(state, wanted({ etag: "17", cases: [{ key: "red", weight: 1 }] }))).toBeUndefined();
    const same = suiteOf(state);
    expect(same && putSuite(state, same)).toBeUndefined();
  });

  test("of what somebody has changed meanwhile is refused", () => {
    const state = put(put(absent), { description: "theirs" });
    expect(() => putSuite(state, wanted({ etag: "1", description: "mine" }))).toThrow(/has changed since etag "1"/);
    expect(suiteOf(put(state, { etag: "2", description: "mine" }))).toMatchObject({ version: 3n });
    expect(() => putSuite(absent, wanted({ etag: "1" }))).toThrow(/has changed/);
  });

  test("brings an archived suite back as its next version", () => {
    const archived = after(put(absent), archiveSuite(put(absent), suiteId));
    expect(archived.status).toBe("archived");
    expect(archiveSuite(archived, suiteId)).toBeUndefined();
    expect(put(archived)).toMatchObject({ status: "active", suite: { version: 2n } });
  });

  test("of thresholds that nothing can meet is refused", () => {
    expect(() => putSuite(absent, wanted({ thresholds: { minPassRate: 1 } }))).toThrow(/no number of trials can show/);
    expect(suiteOf(put(absent, { thresholds: { minPassRate: 1, confidence: 0 } }))).toMatchObject({ version: 1n });
  });
});

test("a suite that is not there can not be archived", () => {
  expect(() => archiveSuite(absent, suiteId)).toThrow(/does not exist in this workspace/);
});
