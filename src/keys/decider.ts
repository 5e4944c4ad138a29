import { create } from "@bufbuild/protobuf";
import { WorkspaceKeyDestroyedSchema, WorkspaceKeyRotatedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { WorkspaceKeyState } from "./state.ts";

/** workspace_key.rotated; nothing when that key is on record, or was destroyed meanwhile. */
export function rotateKey(state: WorkspaceKeyState, keyId: string): Draft | undefined {
  if (state.keyId === keyId || state.destroyed.has(keyId)) return undefined;
  const value = create(WorkspaceKeyRotatedSchema, { keyId });
  return { payload: { case: "workspaceKeyRotated", value }, zone: Zone.HIGH_STAKES };
}

/** workspace_key.destroyed; nothing when all of them are on record as destroyed. */
export function destroyKeys(state: WorkspaceKeyState, keyIds: readonly string[], reason: string): Draft | undefined {
  if (keyIds.every((keyId) => state.destroyed.has(keyId))) return undefined;
  const value = create(WorkspaceKeyDestroyedSchema, { keyIds: [...keyIds], reason });
  return { payload: { case: "workspaceKeyDestroyed", value }, zone: Zone.HIGH_STAKES };
}
