import { createHash } from "node:crypto";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { Command } from "./command.ts";

/** The request_id of what a command creates: the same in every attempt; visible characters, at most 200 of them. */
export function requestIdOf({ runId }: Pick<Run, "runId">, { key }: Pick<Command, "key">): string {
  const id = `${runId}/${encodeURIComponent(key)}`;
  return id.length <= 200 ? id : `${runId}/${createHash("sha256").update(key).digest("hex")}`;
}
