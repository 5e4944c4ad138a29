import { create } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { CursorMovedSchema } from "../../gen/signalbox/v1/room_event_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import type { CursorState } from "./cursor-state.ts";

/** How far somebody has read a room. */
export interface Reading {
  readonly roomId: string;
  /** As `user:alice`. */
  readonly principal: string;
  readonly readPosition: bigint;
}

/** cursor.moved; nothing when it stands there or beyond: it never goes back. */
export function moveCursor({ cursor }: CursorState, reading: Reading): Draft | undefined {
  if (reading.readPosition <= (cursor?.readPosition ?? 0n)) return undefined;
  return { payload: { case: "cursorMoved", value: create(CursorMovedSchema, { ...reading }) }, zone: Zone.SANDBOX };
}
