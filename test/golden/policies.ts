import { create } from "@bufbuild/protobuf";
import { KillSwitchFlippedSchema, PolicyPutSchema } from "../../gen/signalbox/v1/policy_event_pb.ts";
import { KillSwitchScope, PolicySchema, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { decision } from "./values.ts";

/** What says what runs may do. */
export const policyPayloads = {
  policyPut: create(PolicyPutSchema, {
    policy: create(PolicySchema, {
      version: 3n,
      policyHash: "6f1d",
      cedar: '@id("points") forbid (principal, action, resource);',
      actions: [{ type: "points", effect: ToolEffect.EXTERNAL_WRITE, reversible: true, risk: Risk.HIGH }],
      roles: [{ name: "dispatchers", members: ["user:ada@example.com", "user:bob"] }],
      ...(decision.terms === undefined ? {} : { approval: decision.terms }),
      denyUnregistered: true,
      note: "after the incident of last night",
    }),
  }),
  killSwitchFlipped: create(KillSwitchFlippedSchema, {
    scope: KillSwitchScope.WORKSPACE,
    on: true,
    reason: "smoke in the relay room",
  }),
};
