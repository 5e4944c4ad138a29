import type { ConnectRouter } from "@connectrpc/connect";
import { PolicyService } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { callOf } from "../kernel/call.ts";
import type { KillSwitchReport } from "./kill-switch-report.ts";
import type { KillSwitches } from "./kill-switches.ts";
import type { Policies } from "./policies.ts";

/** What the service calls. */
export interface PolicyServices {
  readonly policies: Policies;
  readonly switches: Pick<KillSwitches, "set">;
  readonly report: KillSwitchReport;
}

/** Serves PolicyService. */
export function policyRoutes(router: ConnectRouter, { policies, switches, report }: PolicyServices): void {
  router.service(PolicyService, {
    evaluate: async (request, context) => ({ decision: await policies.evaluate(callOf(context), request) }),
    simulatePolicy: (request, context) => policies.simulate(callOf(context), request),
    putPolicy: (request, context) => policies.put(callOf(context), request),
    getPolicy: async (request, context) => ({ policy: await policies.get(callOf(context), request) }),
    listPolicyVersions: (request, context) => policies.list(callOf(context), request),
    setKillSwitch: (request, context) => switches.set(callOf(context), request),
    getKillSwitch: (request, context) => report(callOf(context), request),
  });
}
