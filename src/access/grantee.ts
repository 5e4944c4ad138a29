import { create } from "@bufbuild/protobuf";
import { ed25519 } from "@noble/curves/ed25519.js";
import { type Grantee, GranteeSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

/** `user:alice`, `role:auditor`, `ed25519:…` or `ethereum:0x…` (lower case); empty for nobody. Pure. */
export function granteeName(grantee: Grantee | undefined): string {
  switch (grantee?.who.case) {
    case "principal":
      return grantee.who.value;
    case "ed25519PublicKey":
      return `ed25519:${grantee.who.value}`;
    case "ethereumAddress":
      return `ethereum:${grantee.who.value.toLowerCase()}`;
    case undefined:
      return "";
  }
}

/** The grantee of a key's name; undefined for any other name. Pure. */
export function keyOfName(name: string): Grantee | undefined {
  const key = /^ed25519:([0-9a-f]{64})$/.exec(name)?.[1];
  if (key !== undefined) return create(GranteeSchema, { who: { case: "ed25519PublicKey", value: key } });
  const address = /^ethereum:(0x[0-9a-f]{40})$/.exec(name)?.[1];
  if (address !== undefined) return create(GranteeSchema, { who: { case: "ethereumAddress", value: address } });
  return undefined;
}

/**
 * A grantee as it goes on record: addresses in lower case. INVALID_REQUEST for nobody, and for an Ed25519 key that is no point
 * of the curve or one of the few for which anybody can make signatures. Pure.
 */
export function requireGrantee(grantee: Grantee | undefined): Grantee {
  switch (grantee?.who.case) {
    case "principal":
      return grantee;
    case "ethereumAddress":
      return create(GranteeSchema, { who: { case: "ethereumAddress", value: grantee.who.value.toLowerCase() } });
    case "ed25519PublicKey":
      if (isUsableKey(grantee.who.value)) return grantee;
      throw invalid("ed25519_public_key", "is not a public key; give the 32 bytes of one in hex");
    case undefined:
      throw invalid("who", "is missing; name a principal, an ed25519_public_key or an ethereum_address");
  }
}

function isUsableKey(hex: string): boolean {
  try {
    return !ed25519.Point.fromHex(hex).isSmallOrder();
  } catch {
    // Not 32 bytes, or no point: whatever the reason, nobody can sign with it.
    return false;
  }
}

function invalid(field: string, problem: string): SignalboxError {
  return new SignalboxError("INVALID_REQUEST", `grantee.${field}: ${problem}`, { field: `grantee.${field}` });
}
