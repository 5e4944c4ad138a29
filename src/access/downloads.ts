import type { Artifact } from "../../gen/signalbox/v1/artifact_pb.ts";
import { AccessMethod, AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Call } from "../kernel/call.ts";
import { equalBytes } from "../kernel/digest.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { anonymous } from "../kernel/principal.ts";
import { type AccessDeps, rolesFor } from "./access.ts";
import { type Attempt, tooOften } from "./attempts.ts";
import { isLinkToken, linkTokenDigest } from "./link-token.ts";
import { networkOf } from "./network.ts";
import type { FoundLink } from "./queries.ts";
import type { RateLimit } from "./rate-limit.ts";
import { type Basis, type Guarded, rightOfGrant, rightOfLink } from "./rights.ts";
import { type ReadPath, readPath, signedUrlMs, signPath } from "./signed-url.ts";

/** Somebody with a URL. */
export type Visitor = Required<Pick<Call, "correlationId" | "traceparent" | "remoteAddress">>;

/** A part of an artifact's bytes: from `from` up to, not including, `to`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Somebody whose URL is good. */
export interface Visit {
  readonly artifact: Artifact;
  /** Records that the bytes from `offset` on are wanted, which has to come before they are read. */
  admit(offset: bigint): Promise<Admission>;
}

/** Somebody who may read. */
export interface Admission {
  /** The bytes, the whole without a span; resolves when the first piece can be read. ARTIFACT_EXPIRED, ARTIFACT_CORRUPT. */
  open(span?: Span, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** Artifacts by URL. */
export interface Downloads {
  /**
   * Where a link leads now: a path behind `/artifacts/`, signed for a few minutes. ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED,
   * PERMISSION_DENIED, RATE_LIMITED; refusals are on record where the link is known.
   */
  follow(token: string, visitor: Visitor): Promise<string>;
  /**
   * Holds `/artifacts/<workspace>/<artifact>?<query>` against its signature and against what is on record now.
   * ARTIFACT_NOT_FOUND, ARTIFACT_EXPIRED, PERMISSION_DENIED, INVALID_STATE (sealed to a recipient), RATE_LIMITED.
   */
  visit(place: FoundLink, query: string, visitor: Visitor): Promise<Visit>;
}

/** What downloads need. */
export interface DownloadsDeps<Known extends Guarded> extends AccessDeps<Known> {
  /** Signs URLs: accessKeys(secret).url. */
  readonly urlKey: Uint8Array;
  readonly rateLimit: RateLimit;
  /** The link in the read model, which may be behind. */
  readonly findLink: (tokenDigest: Uint8Array) => Promise<FoundLink | undefined>;
  /** Resolves when the read model has what was in the log when it was called, or when that takes too long. */
  readonly catchUp: () => Promise<void>;
  readonly openContents: (known: Known, span?: Span, signal?: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;
}

/** Downloads by URL. */
export function createDownloads<Known extends Guarded>(deps: DownloadsDeps<Known>): Downloads {
  const { shelf, attempts, clock, urlKey, rateLimit, findLink, catchUp, openContents } = deps;

  async function basisOf(known: Known, grantId: string): Promise<Basis | undefined> {
    const roles = await rolesFor(deps, known.artifact.workspaceId, known);
    const now = clock.now();
    return grantId.startsWith("link_") ? rightOfLink(known, grantId, roles, now) : rightOfGrant(known, grantId, now);
  }

  function begin({ workspaceId, artifactId }: FoundLink, visitor: Visitor): Promise<Attempt> {
    const call = { ...visitor, workspaceId, principal: anonymous };
    return attempts.begin(call, { artifactId, method: AccessMethod.URL });
  }

  /** Refuses what is not on record to begin with, and records that only where there is something to have. */
  async function turnAway(place: FoundLink, visitor: Visitor, error: SignalboxError): Promise<never> {
    requireToken(rateLimit, visitor);
    const known = await shelf.find(place.workspaceId, place.artifactId);
    if (known === undefined) throw error;
    const attempt = await begin(place, visitor);
    return attempt.refuse(AccessOutcome.REFUSED, error, { runId: known.artifact.runId });
  }

  /** The artifact and what the visitor may read it on; every refusal is on record. */
  async function check(place: FoundLink, grantId: string, attempt: Attempt): Promise<{ known: Known; basis: Basis }> {
    const { workspaceId, artifactId } = place;
    const known = await shelf.find(workspaceId, artifactId);
    if (known === undefined) return attempt.refuse(AccessOutcome.NOT_FOUND, shelf.missing(artifactId));
    const { runId, encryption } = known.artifact;
    const gone = shelf.gone(known, clock.now());
    if (gone !== undefined) return attempt.refuse(AccessOutcome.GONE, gone, { runId });
    const basis = await basisOf(known, grantId);
    if (basis === undefined) return attempt.refuse(AccessOutcome.REFUSED, linkOver(), { runId });
    if (encryption !== undefined && encryption.recipient !== "") {
      return attempt.refuse(AccessOutcome.REFUSED, sealedToRecipient(artifactId), { runId, basis });
    }
    return { known, basis };
  }

  return {
    async follow(token, visitor) {
      requireToken(rateLimit, visitor);
      if (!isLinkToken(token)) throw nothingHere();
      const tokenDigest = linkTokenDigest(token);
      let place = await findLink(tokenDigest);
      if (place === undefined) {
        // It may have been made a moment ago.
        await catchUp();
        place = await findLink(tokenDigest);
      }
      if (place === undefined) throw nothingHere();
      const known = await shelf.find(place.workspaceId, place.artifactId);
      const link = known?.links.find((each) => equalBytes(each.tokenDigest, tokenDigest))?.link;
      const now = clock.now();
      if (known === undefined || link === undefined) return turnAway(place, visitor, linkOver());
      if (shelf.gone(known, now) !== undefined || (await basisOf(known, link.linkId)) === undefined) {
        await check(place, link.linkId, await begin(place, visitor));
      }
      const expireSeconds = Math.ceil((now.getTime() + signedUrlMs) / 1000);
      return signPath(urlKey, { ...place, grantId: link.linkId, expireSeconds });
    },
    async visit(place, query, visitor) {
      const read = readPath(urlKey, place, query, clock.now());
      if (read.state !== "valid") return turnAway(place, visitor, badUrl(read.state));
      const attempt = await begin(place, visitor);
      const { known, basis } = await check(place, read.signed.grantId, attempt);
      return {
        artifact: known.artifact,
        async admit(offset) {
          await attempt.grant({ basis, runId: known.artifact.runId, offset });
          return { open: (span, signal) => openContents(known, span, signal) };
        },
      };
    },
  };
}

/** Guessing is limited where nothing is known but the place on the network. */
function requireToken(rateLimit: RateLimit, { remoteAddress }: Visitor): void {
  const verdict = rateLimit.take(`links ${networkOf(remoteAddress)}`);
  if (!verdict.allowed) throw tooOften(verdict.retryAfterMs);
}

function badUrl(state: Exclude<ReadPath["state"], "valid">): SignalboxError {
  const problem = state === "expired" ? "this URL has expired" : "the signature of this URL does not fit it";
  return new SignalboxError("PERMISSION_DENIED", `${problem}; use the link that led here again`);
}

function linkOver(): SignalboxError {
  return new SignalboxError("PERMISSION_DENIED", "the link has expired or was revoked; ask for another one");
}

function nothingHere(): SignalboxError {
  return new SignalboxError("ARTIFACT_NOT_FOUND", "there is no link of this name; check that it is complete");
}

function sealedToRecipient(artifactId: string): SignalboxError {
  const message = `artifact ${artifactId} is sealed to a recipient: it has no URL; use DownloadArtifact with sealed`;
  return new SignalboxError("INVALID_STATE", message, { artifact_id: artifactId });
}
