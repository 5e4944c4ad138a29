import { randomUUID } from "node:crypto";
import { metadataOf, type SignalboxClient } from "../../src/client/client.ts";
import { jsonValue } from "../../src/client/json.ts";
import { newRun } from "./runs.ts";
import type { ToolCallKind } from "./tool-calls.ts";

/** No worker has it: its runs are held by hand. */
const handler = "by-hand";
const result = jsonValue("done");

/** A run under a lease. */
export interface HeldRun {
  readonly runId: string;
  /** Makes a call and records its result. */
  callTool(kind: ToolCallKind): Promise<void>;
  /** Has a call held back. Returns the id of the approval that it waits for. */
  askFor(kind: ToolCallKind): Promise<string>;
  /** Ends the run, whatever is open in it. */
  end(): Promise<void>;
}

/** Creates so many runs and claims them. */
export function holdRuns(client: SignalboxClient, count: number): Promise<HeldRun[]> {
  return Promise.all(Array.from({ length: count }, () => holdRun(client)));
}

async function holdRun({ runs, engine }: SignalboxClient): Promise<HeldRun> {
  await runs.createRun({ ...newRun, handler });
  // Which one of them does not matter.
  const { run, leaseToken } = await engine.claimRun({ handlers: [handler], workerId: "benchmark" });
  if (run === undefined) throw new Error("no run came to be claimed");
  const start = (kind: ToolCallKind) => engine.startToolCall({ leaseToken, key: randomUUID(), ...kind.call });
  return {
    runId: run.runId,
    async callTool(kind) {
      const { toolCall } = await start(kind);
      await engine.succeedToolCall({ leaseToken, toolCallId: toolCall?.toolCallId ?? "", result });
    },
    async askFor(kind) {
      try {
        await start(kind);
      } catch (error) {
        const approvalId = metadataOf(error)["approval_id"];
        if (approvalId !== undefined) return approvalId;
        throw error;
      }
      throw new Error("the call was let through");
    },
    end: async () => void (await runs.cancelRun({ runId: run.runId, reason: "the benchmark's turn is over" })),
  };
}
