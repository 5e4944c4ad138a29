import { create, fromJson, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  type Evaluation,
  EvaluationSchema,
  type EvaluationSpec,
  EvaluationSpecSchema,
  ScorecardSchema,
} from "../../gen/signalbox/v1/eval_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** The handler of evaluations; nobody creates runs of it in another way. */
export const evaluateHandler = "signalbox:evaluate";
/** The label of an evaluation that names its suite. */
export const suiteLabel = "evaluation.suite";

const tolerant = { ignoreUnknownFields: true } as const;

/** The evaluation that a run is. Pure. EVALUATION_NOT_FOUND when it is another one. */
export function evaluationOf(run: Run | undefined, evaluationId: string): Evaluation {
  if (run === undefined || run.handler !== evaluateHandler || run.input === undefined) {
    throw evaluationNotFound(evaluationId);
  }
  const { runId, workspaceId, status, output, error, createTime, endTime, createBy, position } = run;
  return create(EvaluationSchema, {
    evaluationId: runId,
    workspaceId,
    spec: fromJson(EvaluationSpecSchema, toJson(ValueSchema, run.input), tolerant),
    status,
    position,
    ...(output === undefined ? {} : { scorecard: fromJson(ScorecardSchema, toJson(ValueSchema, output), tolerant) }),
    ...(error === undefined ? {} : { error }),
    ...(createTime === undefined ? {} : { createTime }),
    ...(endTime === undefined ? {} : { endTime }),
    ...(createBy === undefined ? {} : { createBy }),
  });
}

/** The evaluation as lists show it: its scorecard is without cases. Pure. */
export function shortened(evaluation: Evaluation): Evaluation {
  const { scorecard } = evaluation;
  return scorecard === undefined ? evaluation : { ...evaluation, scorecard: { ...scorecard, cases: [] } };
}

/** Where the spec of an evaluation stands in its run. Pure. */
export function inputOf(spec: EvaluationSpec) {
  return fromJson(ValueSchema, toJson(EvaluationSpecSchema, spec));
}

/** Unknown ids, ids of other runs and ids of another tenant look the same. */
function evaluationNotFound(evaluationId: string): SignalboxError {
  return new SignalboxError("EVALUATION_NOT_FOUND", `evaluation ${evaluationId} does not exist in this workspace`);
}
