import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { handlerName, onBehalfOf } from "../kernel/principal.ts";
import type { RunState } from "./state.ts";

/** Who asks when a run wants something: its agent, without one its handler, on behalf of who created the run. Pure. */
export function requesterOf({ agentId, handler, createBy }: Run): Principal {
  const asking = agentId
    ? { type: PrincipalType.AGENT, id: agentId }
    : { type: PrincipalType.SERVICE, id: handlerName(handler) };
  return onBehalfOf(create(PrincipalSchema, asking), createBy ? [createBy] : []);
}

/** Who works on a run: the caller, on behalf of the run's agent, if it has one, and of who created the run. Pure. */
export function workerOf(caller: Principal, { agentId, createBy }: Run): Principal {
  const agent = agentId ? [create(PrincipalSchema, { type: PrincipalType.AGENT, id: agentId })] : [];
  return onBehalfOf(caller, [...agent, ...(createBy ? [createBy] : [])]);
}

/** The decision of a worker: what it records says on whose behalf. Pure as long as the decision is. */
export function asWorker(
  caller: Principal,
  decide: (state: RunState, now: Date) => Draft | undefined,
): (state: RunState, now: Date) => Draft | undefined {
  return (state, now) => {
    const draft = decide(state, now);
    if (draft === undefined || state.status === "absent") return draft;
    return { ...draft, actor: workerOf(caller, state.run) };
  };
}
