import { type Run, StepKind, StepStatus } from "../../gen/signalbox/v1/run_pb.ts";
import type { Aggregates, Loaded } from "../eventlog/aggregates.ts";
import { derivedId } from "../kernel/ids.ts";
import type { RunRecord } from "./run-record.ts";
import type { LiveRun, RunState } from "./state.ts";
import type { RecordedStep } from "./step-decider.ts";
import type { RecordedToolCall } from "./tool-call-decider.ts";

/** Base runs that are looked through: the base, its base, and so on. */
const maxBases = 32;

/** What a run that was retried or forked may take from the record of the run it began as. */
export interface BaseRecord {
  /**
   * The step as a base run completed it; undefined when none has, or none as a step of this kind, and for steps that wait for
   * an approval: what people have approved is good for the run that they were asked for.
   */
  step(workspaceId: string, run: Run, key: string, kind: StepKind): Promise<RecordedStep | undefined>;
  /** The tool call as a base run made it; undefined when none has the result of such a call of this tool. */
  toolCall(workspaceId: string, run: Run, key: string, tool: string): Promise<RecordedToolCall | undefined>;
}

/** What the base record needs. */
export interface BaseRecordDeps {
  readonly aggregates: Pick<Aggregates<RunState>, "load" | "cached">;
  readonly record: RunRecord;
  /** Whether the bytes of an artifact can be read; default: they always can. */
  readonly isReadable?: (workspaceId: string, artifactId: string) => Promise<boolean>;
}

interface Base {
  readonly state: LiveRun;
  readonly subject: string;
  /** What was recorded behind this position does not count. */
  readonly upTo: bigint;
}

/** Reads base runs from the log. */
export function createBaseRecord(deps: BaseRecordDeps): BaseRecord {
  const { aggregates, record, isReadable = () => Promise.resolve(true) } = deps;

  /** The run at least as it was at the position: up to there, nothing about it changes any more. */
  async function loadUpTo(workspaceId: string, runId: string, position: bigint): Promise<Loaded<RunState>> {
    const known = aggregates.cached(workspaceId, runId);
    return known !== undefined && known.position >= position ? known : aggregates.load(workspaceId, runId);
  }

  async function* bases(workspaceId: string, run: Run): AsyncGenerator<Base> {
    let { baseRunId, basePosition } = run;
    for (let count = 0; count < maxBases && baseRunId !== ""; count++) {
      const { state, subject = "" } = await loadUpTo(workspaceId, baseRunId, basePosition);
      if (state.status === "absent") return;
      yield { state, subject, upTo: basePosition };
      ({ baseRunId, basePosition } = state.run);
    }
  }

  return {
    async step(workspaceId, run, key, kind) {
      if (kind === StepKind.APPROVAL) return undefined;
      for await (const { state, subject, upTo } of bases(workspaceId, run)) {
        const { runId } = state.run;
        const head = state.steps.get(derivedId("step", workspaceId, runId, key));
        if (head?.step.status !== StepStatus.COMPLETED || head.step.position > upTo || head.step.kind !== kind)
          continue;
        const { reusedFromRunId, outputArtifactId } = head.step;
        // An output that is gone is as good as none: the step is done again.
        if (outputArtifactId !== "" && !(await isReadable(workspaceId, outputArtifactId))) continue;
        const output = await record.stepOutput(subject, head);
        return { runId: reusedFromRunId || runId, output, outputArtifactId };
      }
      return undefined;
    },
    async toolCall(workspaceId, run, key, tool) {
      for await (const { state, subject, upTo } of bases(workspaceId, run)) {
        const { runId } = state.run;
        const head = state.toolCalls.get(derivedId("tc", workspaceId, runId, key));
        if (head?.resultDigest === undefined || head.toolCall.position > upTo || head.toolCall.tool !== tool) continue;
        return {
          runId: head.toolCall.reusedFromRunId || runId,
          arguments: await record.toolCallArguments(subject, head),
          result: await record.toolCallResult(subject, head),
        };
      }
      return undefined;
    },
  };
}
