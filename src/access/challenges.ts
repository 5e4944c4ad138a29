import { randomBytes } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { AccessMethod, AccessOutcome, type Grantee } from "../../gen/signalbox/v1/artifact_pb.ts";
import type {
  AnswerAccessChallengeRequest,
  CreateAccessChallengeRequest,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Call } from "../kernel/call.ts";
import type { Clock } from "../kernel/clock.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { Shelf } from "./access.ts";
import { type Attempts, limitKey, tooOften } from "./attempts.ts";
import { type Challenge, readChallenge, writeChallenge } from "./challenge.ts";
import { granteeName, keyOfName } from "./grantee.ts";
import type { Nonces } from "./nonces.ts";
import type { RateLimit } from "./rate-limit.ts";
import { type Guarded, rightOfKey } from "./rights.ts";
import { isSignedBy } from "./signatures.ts";
import { signedUrlMs, signPath } from "./signed-url.ts";

/** Ways to an artifact for who has a key and no credential. */
export interface Challenges {
  /** A text to sign. INVALID_REQUEST when the grantee has no key, RATE_LIMITED. */
  create(call: Call, request: CreateAccessChallengeRequest): Promise<{ challenge: string; expireTime: Timestamp }>;
  /** A signed URL for the signature. PERMISSION_DENIED, ARTIFACT_EXPIRED, RATE_LIMITED. */
  answer(call: Call, request: AnswerAccessChallengeRequest): Promise<{ url: string; expireTime: Timestamp }>;
}

/** What challenges need. */
export interface ChallengesDeps<Known extends Guarded> {
  readonly shelf: Shelf<Known>;
  readonly attempts: Attempts;
  readonly rateLimit: RateLimit;
  readonly nonces: Nonces;
  readonly clock: Clock;
  /** accessKeys(secret). */
  readonly keys: { readonly url: Uint8Array; readonly challenge: Uint8Array };
  /**
   * SIGNALBOX_PUBLIC_URL: people who sign see it. Never what a request says, else somebody could have a text signed that names
   * another site. Unset for the name `signalbox`.
   */
  readonly publicUrl?: string | undefined;
}

const challengeMs = 5 * 60_000;
/** How far the clocks of two servers may differ. */
const skewMs = 60_000;

/** Challenges of an installation: nothing is kept of one until it is answered. */
export function createChallenges<Known extends Guarded>(deps: ChallengesDeps<Known>): Challenges {
  const { shelf, attempts, rateLimit, nonces, clock, keys, publicUrl: domain = "signalbox" } = deps;

  /** The challenge, when the text is ours and in time, and the signature is its grantee's; else why not. */
  function judge(call: Call, text: string, signature: string): Challenge | string {
    const challenge = readChallenge(keys.challenge, text);
    if (challenge === undefined) return "this is no challenge of this installation, or it was changed";
    if (challenge.domain !== domain) return "the challenge was made for another address of this installation";
    if (challenge.workspaceId !== call.workspaceId) return "the challenge was made for another workspace";
    const nowMs = clock.now().getTime();
    if (challenge.issueTime.getTime() > nowMs + skewMs) return "the challenge was made in the future";
    if (challenge.expireTime.getTime() <= nowMs) return "the challenge has expired";
    const grantee = keyOfName(challenge.grantee);
    const isTheirs = grantee !== undefined && isSignedBy(grantee, text, signature);
    return isTheirs ? challenge : "the signature does not fit the challenge and its key";
  }

  /** Records the refusal where there is something to have. */
  async function turnAway(call: Call, artifactId: string, problem: string): Promise<never> {
    const known = artifactId === "" ? undefined : await shelf.find(call.workspaceId, artifactId);
    if (known === undefined) throw denied(problem);
    const attempt = await attempts.begin(call, { artifactId, method: AccessMethod.CHALLENGE });
    return attempt.refuse(AccessOutcome.REFUSED, denied(problem), { runId: known.artifact.runId });
  }

  return {
    async create(call, { artifactId, grantee }) {
      requireToken(rateLimit, call);
      const name = keyName(grantee);
      const issueTime = clock.now();
      const expireTime = new Date(issueTime.getTime() + challengeMs);
      const challenge = writeChallenge(keys.challenge, {
        domain,
        workspaceId: call.workspaceId,
        artifactId,
        grantee: name,
        nonce: randomBytes(16).toString("hex"),
        issueTime,
        expireTime,
      });
      return { challenge, expireTime: timestampFromDate(expireTime) };
    },
    async answer(call, { challenge: text, signature }) {
      requireToken(rateLimit, call);
      const judged = judge(call, text, signature);
      if (typeof judged === "string") return turnAway(call, namedArtifact(text), judged);
      const { artifactId, grantee, nonce } = judged;
      if (!(await nonces.spend(nonce))) return turnAway(call, artifactId, "the challenge was answered before");
      const { workspaceId, serverUrl = "" } = call;
      const known = await shelf.find(workspaceId, artifactId);
      const basis = known && rightOfKey(known, grantee, clock.now());
      if (known === undefined || basis === undefined) {
        return turnAway(call, artifactId, `nothing is granted to ${grantee} here`);
      }
      const { runId } = known.artifact;
      const attempt = await attempts.begin(call, { artifactId, method: AccessMethod.CHALLENGE });
      const gone = shelf.gone(known, clock.now());
      if (gone !== undefined) return attempt.refuse(AccessOutcome.GONE, gone, { runId, basis });
      await attempt.grant({ basis, runId });
      const expireSeconds = Math.ceil((clock.now().getTime() + signedUrlMs) / 1000);
      const path = signPath(keys.url, { workspaceId, artifactId, grantId: basis.grantId, expireSeconds });
      const expireTime = timestampFromDate(new Date(expireSeconds * 1000));
      return { url: `${serverUrl}/artifacts/${path}`, expireTime };
    },
  };
}

function requireToken(rateLimit: RateLimit, call: Call): void {
  const verdict = rateLimit.take(`challenges ${limitKey(call)}`);
  if (!verdict.allowed) throw tooOften(verdict.retryAfterMs);
}

/** The artifact that a text is about, as it says itself; empty for none. */
function namedArtifact(text: string): string {
  return /^Artifact: (art_[0-7][0-9A-HJKMNP-TV-Z]{25})$/m.exec(text)?.[1] ?? "";
}

function keyName(grantee: Grantee | undefined): string {
  const name = granteeName(grantee);
  if (keyOfName(name) !== undefined) return name;
  throw new SignalboxError(
    "INVALID_REQUEST",
    "grantee: only keys answer challenges; give an ed25519_public_key or an ethereum_address",
    { field: "grantee" },
  );
}

function denied(problem: string): SignalboxError {
  return new SignalboxError("PERMISSION_DENIED", `${problem}; ask for another challenge and sign exactly its text`);
}
