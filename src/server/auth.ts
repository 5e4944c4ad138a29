import { hash, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Principal, PrincipalSchema, PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { anonymous } from "../kernel/principal.ts";

/** How callers are identified: not at all, or by one token that all of them share. */
export type AuthSettings = { readonly mode: "none" } | { readonly mode: "static_token"; readonly token: string };

/** Who calls, as far as the server knows by itself. */
export interface Caller {
  /** Who that is when the call says nothing else. */
  readonly principal: Principal;
  /** False where nobody has to prove who they are: callers are who they say. */
  readonly proven: boolean;
}

/** Somebody without a credential, where none is needed. They speak for nobody. */
export const nobody: Caller = { principal: anonymous, proven: true };

/** Who calls, from the value of the `authorization` header. Throws UNAUTHENTICATED. */
export type Authenticate = (authorization: string | null | undefined) => Caller;

/** The identification that the settings ask for. INVALID_REQUEST when the token is empty. */
export function createAuthenticate(auth: AuthSettings): Authenticate {
  switch (auth.mode) {
    case "none": {
      const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "local" });
      return () => ({ principal, proven: false });
    }
    case "static_token":
      return staticToken(auth.token);
  }
}

function staticToken(token: string): Authenticate {
  if (token === "") throw new SignalboxError("INVALID_REQUEST", "the static token is empty: set SIGNALBOX_TOKEN");
  const principal = create(PrincipalSchema, { type: PrincipalType.SERVICE, id: "static_token" });
  const expected = digest(token);
  return (authorization) => {
    const given = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (given === undefined) {
      throw new SignalboxError("UNAUTHENTICATED", "no token: send the header `authorization: Bearer <token>`");
    }
    // Digests have one length, so the comparison tells nothing about the token, not even how long it is.
    if (!timingSafeEqual(digest(given), expected)) {
      throw new SignalboxError("UNAUTHENTICATED", "unknown token: compare it with SIGNALBOX_TOKEN of the server");
    }
    return { principal, proven: true };
  };
}

function digest(text: string): Buffer {
  return hash("sha256", text, "buffer");
}
