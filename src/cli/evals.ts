import type { EvalCase } from "../../gen/signalbox/v1/eval_pb.ts";
import { createAgents } from "../agents/agents.ts";
import { readyChecks } from "../engine/evals/checks.ts";
import { createEvaluations } from "../evals/evaluations.ts";
import type { EvalParts } from "../evals/service.ts";
import { createSuites } from "../evals/suites.ts";
import type { Aggregates } from "../eventlog/aggregates.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { randomIds as ids } from "../kernel/ids.ts";
import type { Limits } from "../kernel/limits.ts";
import type { Positions } from "../readmodel/positions.ts";
import { createRunLists } from "../runs/queries.ts";
import { createStarts } from "../runs/starts.ts";
import type { RunState } from "../runs/state.ts";
import { withinTime } from "../tools/time-limit.ts";
import type { Stores } from "./stores.ts";

/** What evaluations are wired from. */
export interface EvalStores extends Stores {
  readonly positions: Positions;
  readonly aggregates: Aggregates<RunState>;
}

/** How long a server looks at the checks of one case, while nobody else gets a turn. */
const maxCaseMs = 1_000;

function requireUsable(evalCase: EvalCase): void {
  const tooLong = `the checks of case ${evalCase.key} take more than ${maxCaseMs} ms to read; make them simpler`;
  withinTime(maxCaseMs, "TOOL_SCHEMA_INVALID", tooLong, () => readyChecks(evalCase));
}

/** The suites and evaluations of a process. */
export function wireEvals({ log, postgres: { db }, positions, aggregates }: EvalStores, limits: Limits): EvalParts {
  const suites = createSuites({ log, clock, ids, db, positions, requireUsable });
  const agents = createAgents({ log, clock, ids, db, positions });
  const starts = createStarts({ aggregates, ids, limits, findAgent: agents.find, createsReserved: true });
  const evaluations = createEvaluations({
    suites,
    positions,
    hasAgent: async (workspaceId, agentId) => (await agents.find(workspaceId, agentId)) !== undefined,
    runs: {
      create: starts.create,
      createdBy: starts.createdBy,
      async find(workspaceId, runId) {
        const { state } = await aggregates.load(workspaceId, runId);
        return state.status === "absent" ? undefined : state.run;
      },
      list: createRunLists(db).runs,
    },
  });
  return { suites, evaluations };
}
