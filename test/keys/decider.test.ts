import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { destroyKeys, rotateKey } from "../../src/keys/decider.ts";
import { evolveWorkspaceKey, workspaceKeyAggregate, type WorkspaceKeyState } from "../../src/keys/state.ts";

function after(...decisions: ((state: WorkspaceKeyState) => Draft | undefined)[]): WorkspaceKeyState {
  return decisions.reduce((state, decide) => {
    const draft = decide(state);
    return draft === undefined ? state : evolveWorkspaceKey(state, create(EventSchema, { payload: draft.payload }));
  }, workspaceKeyAggregate.initial);
}

const rotated = (keyId: string) => (state: WorkspaceKeyState) => rotateKey(state, keyId);
const destroyed =
  (...keyIds: string[]) =>
  (state: WorkspaceKeyState) =>
    destroyKeys(state, keyIds, "the tenant has left");

test("a key is put on record once", () => {
  expect(rotateKey(after(), "key_1")?.payload).toMatchObject({
    case: "workspaceKeyRotated",
    value: { keyId: "key_1" },
  });
  expect(rotateKey(after(rotated("key_1")), "key_1")).toBeUndefined();
  expect(rotateKey(after(rotated("key_1")), "key_2")).toBeDefined();
});

test("a key that was destroyed does not come back", () => {
  const state = after(rotated("key_1"), destroyed("key_1"));
  expect(rotateKey(state, "key_1")).toBeUndefined();
  expect(rotateKey(state, "key_2")).toBeDefined();
});

test("keys are destroyed once, and again when there are more of them", () => {
  const state = after(rotated("key_1"), rotated("key_2"), destroyed("key_1", "key_2"));
  expect(destroyKeys(state, ["key_1", "key_2"], "again")).toBeUndefined();
  expect(destroyKeys(state, ["key_1"], "again")).toBeUndefined();
  expect(destroyKeys(state, ["key_2", "key_3"], "more")?.payload).toMatchObject({
    value: { keyIds: ["key_2", "key_3"], reason: "more" },
  });
});
