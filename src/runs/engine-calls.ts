import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EngineService, WorkRequest } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Engine } from "./engine.ts";
import type { LiveOutput } from "./live-output.ts";
import type { Work } from "./work.ts";

type Carried = WorkRequest["request"];

/** A call that may come alone or inside a Work stream, by its name in the contract. */
export type CallName = Exclude<Carried["case"], "want" | undefined>;

/** How each of these calls is served, whichever way it came. */
export type EngineCalls = {
  readonly [Name in CallName]: (
    call: Call,
    request: Extract<Carried, { case: Name }>["value"],
  ) => Promise<MessageInitShape<(typeof EngineService.method)[Name]["output"]>>;
};

/** Who serves them. */
export interface EngineCallsDeps extends Pick<EngineCalls, "reportWorker"> {
  readonly engine: Engine;
  readonly work: Work;
  readonly liveOutput: LiveOutput;
}

/** Every call of a worker but those that ask for runs or for workers. */
export function createEngineCalls({ engine, work, liveOutput, reportWorker }: EngineCallsDeps): EngineCalls {
  return {
    heartbeat: (call, { leaseToken }) => engine.heartbeat(call, leaseToken),
    releaseRun: engine.release,
    suspendRun: engine.suspend,
    completeRun: engine.complete,
    failRun: engine.fail,
    startStep: work.startStep,
    completeStep: work.completeStep,
    failStep: work.failStep,
    startToolCall: work.startToolCall,
    succeedToolCall: work.succeedToolCall,
    failToolCall: work.failToolCall,
    reconcileToolCall: work.reconcileToolCall,
    publishDeltas: liveOutput.publish,
    reportWorker,
  };
}
