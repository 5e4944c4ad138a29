import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";

/** The longest chain of those on whose behalf somebody acts; what is farther away is left out, but not who began it. */
export const maxChain = 8;

/** Signalbox itself: what happens without anybody's call. */
export const signalbox: Principal = create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "signalbox" });

/** Whoever calls without a credential where none is needed. Nothing can be granted to them: they have no name. */
export const anonymous: Principal = create(PrincipalSchema, { type: PrincipalType.UNSPECIFIED, id: "anonymous" });

/** True for whoever calls without a credential. */
export function isAnonymous({ type }: Pick<Principal, "type">): boolean {
  return type === PrincipalType.UNSPECIFIED;
}

const names: Record<PrincipalType, string> = {
  [PrincipalType.USER]: "user",
  [PrincipalType.AGENT]: "agent",
  [PrincipalType.SERVICE]: "service",
  [PrincipalType.UNSPECIFIED]: "unknown",
};

const types: Readonly<Record<string, PrincipalType>> = {
  user: PrincipalType.USER,
  agent: PrincipalType.AGENT,
  service: PrincipalType.SERVICE,
};

/** `user:alice`, as policies, filters and headers write a principal; those on whose behalf it acts are left out. */
export function principalName({ type, id }: Pick<Principal, "type" | "id">): string {
  return `${names[type]}:${id}`;
}

/** The principal of a name like `user:alice`; undefined when it is none. */
export function principalOfName(name: string): Principal | undefined {
  const [, kind = "", id = ""] = /^(user|agent|service):([!-~]{1,200})$/.exec(name) ?? [];
  const type = types[kind];
  return type === undefined ? undefined : create(PrincipalSchema, { type, id });
}

/** The service that the handler of a run is which has no agent. */
export function handlerName(handler: string): string {
  return `${handlerPrefix}${handler}`;
}

const handlerPrefix = "handler:";

/**
 * Who stands behind a call, without a chain: the first who is no program, so that somebody who comes through a gateway counts
 * as themselves. What acts in a run, an agent or the handler of a run without one, never counts as the person for whom it
 * does so. A program that acts for nobody is itself.
 */
export function personBehind(principal: Principal): Principal {
  const chain = [principal, ...principal.onBehalfOf];
  const { type, id } = chain.find((each) => !passesOn(each)) ?? principal;
  return create(PrincipalSchema, { type, id });
}

/** True for a program through which others call. */
function passesOn({ type, id }: Pick<Principal, "type" | "id">): boolean {
  return type === PrincipalType.SERVICE && !id.startsWith(handlerPrefix);
}

/** The principal, acting on behalf of others, nearest first. */
export function onBehalfOf(principal: Principal, chain: readonly Principal[]): Principal {
  const all = [principal, ...chain].flatMap((each) => [each, ...each.onBehalfOf]).map(({ type, id }) => ({ type, id }));
  // Nobody acts on behalf of themselves.
  const [first, ...behind] = all.filter((each, index) => {
    const before = all[index - 1];
    return before === undefined || principalName(before) !== principalName(each);
  });
  return create(PrincipalSchema, { ...first, onBehalfOf: shortened(behind) });
}

/** Rules go by the person with whom it began, however many programs stand between. */
function shortened<T extends Pick<Principal, "type">>(chain: T[]): T[] {
  if (chain.length <= maxChain) return chain;
  const begun = chain.findLastIndex(({ type }) => type === PrincipalType.USER);
  return chain.filter((_, index) => index < maxChain - 1 || index === Math.max(begun, maxChain - 1));
}
