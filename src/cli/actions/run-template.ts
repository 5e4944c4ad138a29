import type { CreateRunRequest } from "../../../gen/signalbox/v1/run_service_pb.ts";
import type { RunTemplateOptions } from "../commands/run-template.ts";
import { given } from "../given.ts";
import { budgetOf, durationOf, retryPolicyOf } from "./policies.ts";
import { jsonArgument } from "./text-argument.ts";

/** Some fields of what a run is created with. */
export type RunTemplate = Partial<
  Pick<
    CreateRunRequest,
    | "agentId"
    | "input"
    | "sessionId"
    | "roomId"
    | "labels"
    | "queue"
    | "priority"
    | "concurrencyKey"
    | "maxDuration"
    | "retryPolicy"
    | "budget"
  >
>;

/**
 * The fields that the options set; what they leave open of a budget or a retry policy stays as it was. Reads the file or
 * the stdin that the input names.
 */
export async function templateOf(
  options: RunTemplateOptions,
  before?: Pick<CreateRunRequest, "budget" | "retryPolicy">,
): Promise<RunTemplate> {
  const { retry, budget } = options;
  return given({
    agentId: options.agent,
    input: await jsonArgument("--input", options.input),
    sessionId: options.session,
    roomId: options.room,
    labels: options.label,
    queue: options.queue,
    priority: options.priority,
    concurrencyKey: options.concurrencyKey,
    maxDuration: durationOf(options.maxDuration),
    retryPolicy: retry && retryPolicyOf(retry, before?.retryPolicy),
    budget: budget && budgetOf(budget, before?.budget),
  });
}
