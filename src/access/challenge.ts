import { macOf, sameText } from "./mac.ts";

/** What a challenge is about. */
export interface Challenge {
  /** Whose challenge it is: SIGNALBOX_PUBLIC_URL, else `signalbox`. */
  readonly domain: string;
  readonly workspaceId: string;
  readonly artifactId: string;
  /** The name of a key: `ed25519:…` or `ethereum:0x…`. */
  readonly grantee: string;
  /** 32 hex digits, used once. */
  readonly nonce: string;
  readonly issueTime: Date;
  readonly expireTime: Date;
}

/** The text to sign: people can read in it what they sign, and the server that it wrote it. Pure. */
export function writeChallenge(key: Uint8Array, challenge: Challenge): string {
  const body = bodyOf(challenge);
  return `${body}Seal: ${macOf(key, body)}\n`;
}

/** The challenge in a text that writeChallenge made with this key; undefined for any other text. Pure. */
export function readChallenge(key: Uint8Array, text: string): Challenge | undefined {
  const fields = pattern.exec(text)?.groups;
  if (fields === undefined) return undefined;
  const {
    domain = "",
    workspaceId = "",
    artifactId = "",
    grantee = "",
    nonce = "",
    issued = "",
    expires = "",
  } = fields;
  const times = { issueTime: new Date(issued), expireTime: new Date(expires) };
  if ([times.issueTime, times.expireTime].some((time) => Number.isNaN(time.getTime()))) return undefined;
  const challenge = { domain, workspaceId, artifactId, grantee, nonce, ...times };
  // Written again, it is the same text or none of ours.
  return sameText(writeChallenge(key, challenge), text) ? challenge : undefined;
}

const preamble = `Signalbox access challenge, version 1

By signing this text you prove that the key below is yours, to read one artifact once. It grants nothing else and moves nothing.

`;

const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
const pattern = new RegExp(
  [
    `^${preamble.replaceAll(".", String.raw`\.`)}Domain: (?<domain>[!-~]{1,300})`,
    String.raw`Workspace: (?<workspaceId>ws_\w{1,60})`,
    String.raw`Artifact: (?<artifactId>art_\w{26})`,
    String.raw`Grantee: (?<grantee>[!-~]{1,200})`,
    "Nonce: (?<nonce>[0-9a-f]{32})",
    `Issued at: (?<issued>${time})`,
    `Expires at: (?<expires>${time})`,
    String.raw`Seal: [\w-]{43}\n$`,
  ].join(String.raw`\n`),
);

function bodyOf({ domain, workspaceId, artifactId, grantee, nonce, issueTime, expireTime }: Challenge): string {
  return `${preamble}${[
    `Domain: ${domain}`,
    `Workspace: ${workspaceId}`,
    `Artifact: ${artifactId}`,
    `Grantee: ${grantee}`,
    `Nonce: ${nonce}`,
    `Issued at: ${issueTime.toISOString()}`,
    `Expires at: ${expireTime.toISOString()}`,
    "",
  ].join("\n")}`;
}
