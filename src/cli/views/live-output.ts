import type { RunDelta } from "../../../gen/signalbox/v1/delta_pb.ts";
import type { Teller } from "./conversation.ts";
import { shortJson } from "./values.ts";

/** Tells output of runs while it is made: text as it comes, behind the run and the step that make it. */
export interface LiveOutput {
  delta(delta: RunDelta): void;
  /** Something else was told: the next text says again whose it is. */
  interrupted(): void;
}

/** Live output without a word. */
export function createLiveOutput({ write, line }: Teller): LiveOutput {
  // Whose text is being told, and what was told of it last.
  let source = "";
  let told = "";

  return {
    delta({ runId, attempt, delta }) {
      if (delta === undefined) return;
      const next = `${runId}  ${delta.stepKey}${attempt > 1 ? ` (attempt ${attempt})` : ""}`;
      if (delta.data !== undefined) {
        line(`  ${next}  ${shortJson(delta.data, 160)}`);
        source = "";
      }
      if (delta.text === "") return;
      if (next !== source) write(`${source === "" || told.endsWith("\n") ? "" : "\n"}  ${next}  `);
      source = next;
      told = delta.text;
      write(told);
    },
    interrupted() {
      source = "";
    },
  };
}
