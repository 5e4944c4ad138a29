import type { GetRoomChangesResponse } from "../../../gen/signalbox/v1/room_service_pb.ts";
import { approvalTable } from "./approval-view.ts";
import { messageLine, type Names } from "./chat.ts";
import { incidentTable } from "./incident-view.ts";
import { runTable } from "./run-view.ts";

/** What has changed in a room, one kind below the other; what is missing of each is counted. */
export function changesText(changes: GetRoomChangesResponse, names: Names): string {
  const { messages, runs, approvals, incidents, afterPosition, position } = changes;
  const parts = [
    part("messages", changes.messageCount, messages, (items) =>
      items.map((item) => messageLine(item, names)).join("\n"),
    ),
    part("runs", changes.runCount, runs, runTable),
    part("approvals", changes.approvalCount, approvals, approvalTable),
    part("incidents", changes.incidentCount, incidents, incidentTable),
  ].filter((text) => text !== "");
  const what = parts.length === 0 ? "nothing has changed" : "changed";
  return [`${what} after ${afterPosition} up to ${position}`, ...parts].join("\n\n");
}

function part<Item>(
  what: string,
  count: bigint,
  items: readonly Item[],
  text: (items: readonly Item[]) => string,
): string {
  if (count === 0n) return "";
  const shown = count > BigInt(items.length) ? `, the last ${items.length}` : "";
  return `${count} ${what}${shown}:\n${text(items)}`;
}
