import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Principal } from "../../../gen/signalbox/v1/common_pb.ts";
import { type Message, MessageStatus } from "../../../gen/signalbox/v1/room_pb.ts";
import { principalName } from "../../kernel/principal.ts";
import { timeText } from "./values.ts";

/** What people are called in a room. */
export interface Names {
  /** The handle of a member, the id of anybody else; empty for nobody. */
  of(principal: Principal | undefined): string;
  /** Calls a principal by a handle from now on. */
  set(principal: Principal | undefined, handle: string): void;
}

/** Names of nobody yet. */
export function createNames(): Names {
  const handles = new Map<string, string>();
  return {
    of: (principal) => (principal === undefined ? "" : (handles.get(principalName(principal)) ?? principal.id)),
    set(principal, handle) {
      if (principal !== undefined) handles.set(principalName(principal), handle);
    },
  };
}

/** A message as a line of a chat: `08:00:00  alice  text`, further lines of it below, set in. */
export function messageLine(message: Message, names: Names): string {
  const head = `${clockText(message.createTime)}  ${names.of(message.createBy)}${placeText(message)}`;
  if (message.status === MessageStatus.REDACTED) return `${head}  (redacted${because(message.redactReason)})`;
  const edited = message.status === MessageStatus.EDITED ? "  (edited)" : "";
  return `${chatLine(head, message.text)}${edited}`;
}

/** What somebody said behind who did; a text of several lines below it, set in. */
export function chatLine(head: string, text: string): string {
  const lines = text.trimEnd().split(/\r?\n/);
  return lines.length === 1 ? `${head}  ${lines[0] ?? ""}` : [head, ...lines.map((line) => `    ${line}`)].join("\n");
}

/** `: why`; empty when nobody said why. */
export function because(reason: string): string {
  return reason === "" ? "" : `: ${reason}`;
}

/** The time of day, `08:00:00`; the rest of a room's life stands around it. */
export function clockText(time: Timestamp | undefined): string {
  return timeText(time).slice(11, 19);
}

function placeText({ threadId, runId }: Pick<Message, "threadId" | "runId">): string {
  const place = threadId === "" ? "" : ` in ${threadId}`;
  return runId === "" ? place : `${place} (${runId})`;
}
