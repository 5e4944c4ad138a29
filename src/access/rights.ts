import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Artifact,
  type ArtifactGrant,
  ArtifactVisibility,
  type DownloadLink,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { type Principal, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Role } from "../../gen/signalbox/v1/policy_pb.ts";
import { principalName } from "../kernel/principal.ts";
import { granteeName } from "./grantee.ts";

/** What has to be known of an artifact to say who may read it. */
export interface Guarded {
  readonly artifact: Artifact;
  readonly grants: readonly ArtifactGrant[];
  readonly links: readonly { readonly link: DownloadLink; readonly tokenDigest: Uint8Array }[];
}

/** What the right to read rests on, as the access log has it. */
export interface Basis {
  /** `owner`, `workspace`, `user:alice`, `role:auditor`, `ed25519:…`, `ethereum:0x…` or `link:…`. */
  readonly grantee: string;
  /** The grant or link; empty for none. */
  readonly grantId: string;
}

/**
 * As whom somebody reads and owns artifacts: the nearest person in the chain, else the nearest agent, else the program itself.
 * So what an agent produces for a person belongs to that person. Without a chain. Pure.
 */
export function accessIdentity(principal: Principal): Pick<Principal, "type" | "id"> {
  const chain = [principal, ...principal.onBehalfOf];
  const nearest = (type: PrincipalType) => chain.find((each) => each.type === type);
  return nearest(PrincipalType.USER) ?? nearest(PrincipalType.AGENT) ?? principal;
}

/** True for who created the artifact and for who created its run. Pure. */
export function isOwner({ createBy, runCreateBy }: Artifact, caller: Principal): boolean {
  const name = identityName(caller);
  return [createBy, runCreateBy].some((owner) => owner !== undefined && identityName(owner) === name);
}

/** True for a grant or a link that has neither expired nor was revoked. Pure. */
export function holds(
  { expireTime, revokeTime }: Pick<ArtifactGrant, "expireTime" | "revokeTime">,
  now: Date,
): boolean {
  return revokeTime === undefined && (expireTime === undefined || timestampMs(expireTime) > now.getTime());
}

/** True when who may read depends on the roles of the workspace's policy. Pure. */
export function dependsOnRoles({ grants }: Guarded, now: Date): boolean {
  return grants.some((grant) => holds(grant, now) && principalOf(grant).startsWith(rolePrefix));
}

/** What `caller` may read the bytes on, by their name in the API; undefined when they may not. Pure. */
export function rightToRead(guarded: Guarded, caller: Principal, roles: readonly Role[], now: Date): Basis | undefined {
  const { artifact, grants } = guarded;
  if (isOwner(artifact, caller)) return { grantee: "owner", grantId: "" };
  if (artifact.visibility === ArtifactVisibility.WORKSPACE) return { grantee: "workspace", grantId: "" };
  const name = identityName(caller);
  const names = new Set([
    name,
    ...roles.filter(({ members }) => members.includes(name)).map((role) => `${rolePrefix}${role.name}`),
  ]);
  const grant = grants.find((each) => names.has(principalOf(each)) && holds(each, now));
  return grant && { grantee: principalOf(grant), grantId: grant.grantId };
}

/** The grant to a key of this name (`ed25519:…`, `ethereum:0x…`); undefined when none holds. Pure. */
export function rightOfKey({ grants }: Guarded, grantee: string, now: Date): Basis | undefined {
  const grant = grants.find((each) => isKeyGrant(each) && granteeName(each.grantee) === grantee && holds(each, now));
  return grant && { grantee, grantId: grant.grantId };
}

/** The grant of that id, when it was given to a key and holds. Pure. */
export function rightOfGrant({ grants }: Guarded, grantId: string, now: Date): Basis | undefined {
  const grant = grants.find((each) => each.grantId === grantId && isKeyGrant(each) && holds(each, now));
  return grant && { grantee: granteeName(grant.grantee), grantId };
}

/**
 * The link of that id, when it holds and whoever made it may still read the artifact: it is never worth more than the right
 * of its maker. Pure.
 */
export function rightOfLink(guarded: Guarded, linkId: string, roles: readonly Role[], now: Date): Basis | undefined {
  const link = guarded.links.find((each) => each.link.linkId === linkId)?.link;
  if (link?.createBy === undefined || !holds(link, now)) return undefined;
  if (rightToRead(guarded, link.createBy, roles, now) === undefined) return undefined;
  return { grantee: `link:${linkId}`, grantId: linkId };
}

const rolePrefix = "role:";

function identityName(principal: Principal): string {
  return principalName(accessIdentity(principal));
}

/** The name that a grant was given to; empty for a key. */
function principalOf({ grantee }: ArtifactGrant): string {
  return grantee?.who.case === "principal" ? grantee.who.value : "";
}

function isKeyGrant({ grantee }: ArtifactGrant): boolean {
  return grantee?.who.case === "ed25519PublicKey" || grantee?.who.case === "ethereumAddress";
}
