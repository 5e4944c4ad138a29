import { create, toJson } from "@bufbuild/protobuf";
import {
  ActionSchema,
  PolicyContextSchema,
  type PolicyContext,
  PolicyDecisionSchema,
} from "../../../gen/signalbox/v1/policy_pb.ts";
import { type PolicyFlip, PolicyFlipSchema } from "../../../gen/signalbox/v1/policy_service_pb.ts";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { EvaluateOptions, SimulateOptions, TriedPolicyOptions } from "../commands/policy.ts";
import { given } from "../given.ts";
import { decisionView, flipTable } from "../views/policy-view.ts";
import { openClient } from "./client.ts";
import { showList } from "./listing.ts";
import { readPolicy } from "./policy-file.ts";
import { jsonArgument } from "./text-argument.ts";
import { zoneOf } from "./zones.ts";

const effectOf = {
  read: ToolEffect.READ,
  write: ToolEffect.WRITE,
  external_write: ToolEffect.EXTERNAL_WRITE,
} as const satisfies Record<NonNullable<EvaluateOptions["effect"]>, ToolEffect>;

/** The largest page that the server gives. */
const maxPageSize = 200;

/** `signalbox policy eval`. */
export async function evaluate(cli: Cli, type: string, options: EvaluateOptions): Promise<ExitCode> {
  const context = await contextOf(type, options);
  using client = openClient(cli);
  const policyVersion = options.policyVersion ?? 0n;
  const request = { context, policyVersion, ...(await triedPolicy(client, cli, options)) };
  const { decision } = await client.policy.evaluate(request, { signal: cli.signal });
  if (decision === undefined) throw new Error("the server answered without a decision");
  cli.output.show(toJson(PolicyDecisionSchema, decision), decisionView(decision));
  return exitCodes.ok;
}

/** `signalbox policy simulate`. */
export async function simulate(cli: Cli, options: SimulateOptions): Promise<ExitCode> {
  const { from, to = 0n, limit } = options;
  using client = openClient(cli);
  const tried = await triedPolicy(client, cli, options);
  const flips: PolicyFlip[] = [];
  let afterPosition = from ?? 0n;
  let evaluated = 0n;
  let complete = false;
  while (!complete && flips.length < limit) {
    const pageSize = Math.min(limit - flips.length, maxPageSize);
    const request = { ...tried, afterPosition, endPosition: to, pageSize };
    const page = await client.policy.simulatePolicy(request, { signal: cli.signal });
    flips.push(...page.flips);
    evaluated += page.evaluated;
    complete = page.complete;
    afterPosition = page.nextPosition;
    cli.output.progress(complete ? "" : `${evaluated} decisions made again`);
  }
  showList(cli.output, flips, (flip) => toJson(PolicyFlipSchema, flip), flipTable);
  const rest = complete ? "" : `; more after position ${afterPosition}`;
  cli.output.note(`${evaluated} decisions made again, ${flips.length} would be another one${rest}`);
  return exitCodes.ok;
}

async function triedPolicy(client: SignalboxClient, cli: Cli, { policy }: TriedPolicyOptions) {
  return policy === undefined ? {} : { policy: await readPolicy(client, cli, "--policy", policy) };
}

async function contextOf(type: string, options: EvaluateOptions): Promise<PolicyContext> {
  const { effect, target = "", reversible = false, idempotent = false, zone, principal } = options;
  const effectValue = effect === undefined ? ToolEffect.UNSPECIFIED : effectOf[effect];
  return create(PolicyContextSchema, {
    action: create(ActionSchema, { type, target, effect: effectValue, reversible, idempotent }),
    agentId: options.agent ?? "",
    handler: options.handler ?? "",
    roomId: options.room ?? "",
    labels: options.label ?? {},
    externalWritesStopped: options.stopped ?? false,
    ...given({ principal, zone: zone && zoneOf[zone], payload: await jsonArgument("--payload", options.payload) }),
  });
}
