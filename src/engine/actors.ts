import { type Principal, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";

const kinds: Partial<Record<PrincipalType, string>> = {
  [PrincipalType.USER]: "user",
  [PrincipalType.AGENT]: "agent",
  [PrincipalType.SERVICE]: "service",
};
/** Visible ASCII without a comma. */
const idPattern = /^[!-+\--~]{1,200}$/;

/**
 * Who acts when the handler of a run calls the server, as `x-on-behalf-of` has it: the agent, or the handler of a run without
 * one, then who created the run, with the chain of those on whose behalf. So what it does never counts as a person's.
 */
export function actorsOf({ agentId, handler, createBy }: Pick<Run, "agentId" | "handler" | "createBy">): string[] {
  const own = agentId === "" ? `service:handler:${handler}` : `agent:${agentId}`;
  return [own, ...(createBy === undefined ? [] : [createBy, ...createBy.onBehalfOf]).flatMap(nameOf)];
}

/** The name; none for a principal that the header has no words for. */
function nameOf({ type, id }: Principal): string[] {
  const kind = kinds[type];
  return kind === undefined || !idPattern.test(id) ? [] : [`${kind}:${id}`];
}
