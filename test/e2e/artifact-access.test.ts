import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, describe, expect, test } from "vitest";
import { AccessMethod, AccessOutcome, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import { personalSign, walletOf } from "../access/wallet.ts";
import { reasonOf } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { artifactOptions } from "../support/artifact-options.ts";
import { until } from "../support/until.ts";
import { accessesTo, bundled, downloaded, followed, linkTo, stored, streamed } from "./files.ts";
import { reasonFor, refusal } from "./refusal.ts";
import { createRun } from "./runs.ts";

const token = "correct-horse-battery-staple";
const installation = await openInstallation({ auth: { mode: "static_token", token }, servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const behindToken = installation.client({ token, workspaceId });
const alice = behindToken.onBehalfOf("user:alice");
const bob = behindToken.onBehalfOf("user:bob");
/** Somebody without a credential, at the other server. */
const stranger = installation.client({ workspaceId, baseUrl: installation.servers[1]?.url });
const secret = Buffer.from("for your eyes only");
const { GRANTED, REFUSED, GONE } = AccessOutcome;
const { DOWNLOAD, URL: BY_URL, LINK, CHALLENGE, BUNDLE } = AccessMethod;

/** The access log of an artifact, newest first: way and outcome. */
async function log(artifactId: string) {
  return (await accessesTo(alice, artifactId)).map(({ method, outcome }) => [method, outcome]);
}

const status = async (url: string) => (await fetch(url, { redirect: "manual" })).status;
const toBob = { who: { case: "principal", value: "user:bob" } } as const;

describe("a file of Alice's is read", () => {
  test("by her and by whom she grants it to, by every way, for as long as the grant holds", async () => {
    const runId = await createRun(bob, { handler: "nobody" });
    const { artifactId } = await stored(alice, secret);
    const ofRun = await stored(alice, secret, { runId });
    // Whose run it is may read what it produces.
    expect(await downloaded(bob, ofRun.artifactId)).toEqual(secret);
    expect(await reasonFor(downloaded(bob, artifactId))).toBe("PERMISSION_DENIED");
    expect(await reasonFor(bob.artifacts.createDownloadUrl({ artifactId }))).toBe("PERMISSION_DENIED");
    expect(await reasonFor(bob.artifacts.grantAccess({ artifactId, grantee: toBob }))).toBe("PERMISSION_DENIED");
    expect(await reasonFor(bob.artifacts.deleteArtifact({ artifactId }))).toBe("PERMISSION_DENIED");
    const { grant } = await alice.artifacts.grantAccess({ artifactId, grantee: toBob });
    expect(await downloaded(bob, artifactId)).toEqual(secret);
    const { url } = await linkTo(bob, artifactId);
    const signed = await followed(url);
    expect(await status(signed)).toBe(200);
    await alice.artifacts.revokeAccess({ artifactId, grantId: grant?.grantId ?? "" });
    // A link is worth what its maker may do, and no longer.
    expect([await status(url), await status(signed)]).toEqual([403, 403]);
    expect(await reasonFor(downloaded(bob, artifactId))).toBe("PERMISSION_DENIED");
    expect(await log(artifactId)).toEqual([
      [DOWNLOAD, REFUSED],
      [BY_URL, REFUSED],
      [BY_URL, REFUSED],
      [BY_URL, GRANTED],
      [LINK, GRANTED],
      [DOWNLOAD, GRANTED],
      [LINK, REFUSED],
      [DOWNLOAD, REFUSED],
    ]);
  });

  test("not under a grant that has expired", async () => {
    const { artifactId } = await stored(alice, secret);
    const expireTime = timestampFromMs(Date.now() + 300);
    await alice.artifacts.grantAccess({ artifactId, grantee: toBob, expireTime });
    await until(async () => (await downloaded(bob, artifactId).catch(reasonOf)) === "PERMISSION_DENIED", {
      what: "the grant to expire",
    });
    const [newest] = await accessesTo(alice, artifactId);
    expect(newest).toMatchObject({ outcome: REFUSED, principal: { id: "static_token", onBehalfOf: [{ id: "bob" }] } });
  });

  test("in a bundle by who may read it; others find its name there and no bytes", async () => {
    const runId = await createRun(alice, { handler: "nobody" });
    const { artifactId } = await stored(alice, secret, { runId, name: "secret.txt" });
    expect((await bundled(alice, runId)).includes(secret)).toBe(true);
    const without = await bundled(bob, runId);
    expect(without.includes(secret)).toBe(false);
    expect(without.toString("latin1")).toMatch(/"omitted": ?"not_permitted"/);
    expect(await log(artifactId)).toEqual([
      [BUNDLE, REFUSED],
      [BUNDLE, GRANTED],
    ]);
  });

  test("by everybody of the workspace when she says so", async () => {
    const { artifactId } = await streamed(alice, secret, { visibility: ArtifactVisibility.WORKSPACE });
    expect(await downloaded(bob, artifactId)).toEqual(secret);
    expect(await reasonFor(bob.artifacts.deleteArtifact({ artifactId }))).toBe("PERMISSION_DENIED");
  });
});

describe("a link", () => {
  test("is good until its time, and nothing that came from it longer", async () => {
    const { artifactId } = await stored(alice, secret);
    const { url } = await alice.artifacts.createDownloadUrl({ artifactId, expiresIn: { seconds: 1n } });
    const signed = await followed(url);
    expect(await status(signed)).toBe(200);
    await until(async () => (await status(signed)) === 403, { what: "the link to expire" });
    expect(await status(url)).toBe(403);
    expect((await log(artifactId))[0]).toEqual([BY_URL, REFUSED]);
  });

  test("is revoked by its maker and by the owner, and nothing that came from it holds", async () => {
    const { artifactId } = await stored(alice, secret, { visibility: ArtifactVisibility.WORKSPACE });
    const links = [await linkTo(bob, artifactId), await linkTo(bob, artifactId)];
    const signed = await Promise.all(links.map(({ url }) => followed(url)));
    const [first, second] = links.map(({ linkId }) => ({ artifactId, linkId }));
    const carol = behindToken.onBehalfOf("user:carol");
    expect(await reasonFor(carol.artifacts.revokeDownloadUrl(first ?? {}))).toBe("PERMISSION_DENIED");
    await bob.artifacts.revokeDownloadUrl(first ?? {});
    await alice.artifacts.revokeDownloadUrl(second ?? {});
    const all = [...signed, ...links.map(({ url }) => url)];
    expect(await Promise.all(all.map(status))).toEqual([403, 403, 403, 403]);
  });
});

/** Keys of both kinds, and how their owners sign. */
function wallets() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
  const secretKey = randomBytes(32);
  return {
    ed25519: {
      grantee: { who: { case: "ed25519PublicKey", value: raw } } as const,
      sign: (text: string) => sign(null, Buffer.from(text), privateKey).toString("hex"),
    },
    ethereum: {
      grantee: { who: { case: "ethereumAddress", value: walletOf(secretKey) } } as const,
      sign: (text: string) => personalSign(secretKey, text),
    },
  };
}

describe.each(["ed25519", "ethereum"] as const)("who has a key of %s and no credential", (kind) => {
  const ask = async (artifactId: string, { grantee }: ReturnType<typeof wallets>[typeof kind]) =>
    (await stranger.artifacts.createAccessChallenge({ artifactId, grantee })).challenge;
  const answer = (challenge: string, signature: string) =>
    stranger.artifacts.answerAccessChallenge({ challenge, signature });

  test("reads what was granted to it, by a URL that is good for whoever has it, and not twice by one signature", async () => {
    const key = wallets()[kind];
    const { artifactId } = await stored(alice, secret);
    const { grant } = await alice.artifacts.grantAccess({ artifactId, grantee: key.grantee });
    expect(await reasonFor(downloaded(stranger, artifactId))).toBe("UNAUTHENTICATED");
    const challenge = await ask(artifactId, key);
    const signature = key.sign(challenge);
    const { url } = await answer(challenge, signature);
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([200, secret.toString()]);
    expect(await reasonFor(answer(challenge, signature))).toBe("PERMISSION_DENIED");
    await alice.artifacts.revokeAccess({ artifactId, grantId: grant?.grantId ?? "" });
    expect(await status(url)).toBe(403);
    const fresh = await ask(artifactId, key);
    expect(await reasonFor(answer(fresh, key.sign(fresh)))).toBe("PERMISSION_DENIED");
    expect(await log(artifactId)).toEqual([
      [CHALLENGE, REFUSED],
      [BY_URL, REFUSED],
      [CHALLENGE, REFUSED],
      [BY_URL, GRANTED],
      [CHALLENGE, GRANTED],
    ]);
    const granted = (await accessesTo(alice, artifactId)).filter(({ outcome }) => outcome === GRANTED);
    expect(granted.map(({ grantId }) => grantId)).toEqual([grant?.grantId, grant?.grantId]);
  });

  test("is refused with the signature for another file, of another key, and under a grant that has expired", async () => {
    const [key, other] = [wallets()[kind], wallets()[kind]];
    const [{ artifactId }, elsewhere] = [await stored(alice, secret), await stored(alice, secret)];
    const expireTime = timestampFromMs(Date.now() + 300);
    await alice.artifacts.grantAccess({ artifactId: elsewhere.artifactId, grantee: key.grantee });
    await alice.artifacts.grantAccess({ artifactId, grantee: key.grantee, expireTime });
    const [here, there] = [await ask(artifactId, key), await ask(elsewhere.artifactId, key)];
    const bad = [
      [here, key.sign(there)],
      [here, other.sign(here)],
      [here.replace(artifactId, elsewhere.artifactId), key.sign(here)],
    ] as const;
    for (const [text, signature] of bad) expect(await reasonFor(answer(text, signature))).toBe("PERMISSION_DENIED");
    await until(() => Date.now() > Number(expireTime.seconds) * 1000 + expireTime.nanos / 1e6, { what: "the end" });
    expect(await reasonFor(answer(here, key.sign(here)))).toBe("PERMISSION_DENIED");
    const refused = (await accessesTo(alice, artifactId)).filter(({ method }) => method === CHALLENGE);
    expect(refused.length).toBeGreaterThanOrEqual(3);
    expect(new Set(refused.map(({ outcome }) => outcome))).toEqual(new Set([REFUSED]));
  });
});

test("who was granted access learns that a file is gone, and it is on record", async () => {
  const key = wallets().ed25519;
  const { artifactId } = await stored(alice, secret);
  await alice.artifacts.grantAccess({ artifactId, grantee: key.grantee });
  const { challenge } = await stranger.artifacts.createAccessChallenge({ artifactId, grantee: key.grantee });
  await alice.artifacts.deleteArtifact({ artifactId });
  const answer = stranger.artifacts.answerAccessChallenge({ challenge, signature: key.sign(challenge) });
  expect(await reasonFor(answer)).toBe("ARTIFACT_EXPIRED");
  expect(await log(artifactId)).toEqual([[CHALLENGE, GONE]]);
});

test("who asks too often is told when to come back, by every way, and is on record once", async () => {
  const often = { ...artifactOptions(randomBytes(32)), accessesPerMinute: 5 };
  await using limited = await openInstallation({ artifacts: often });
  const client = limited.client();
  const { artifactId } = await stored(client, secret);
  for (let n = 0; n < 5; n++) await downloaded(client, artifactId);
  for (let n = 0; n < 3; n++) {
    const refused = await refusal(downloaded(client, artifactId));
    expect(refused).toMatchObject({ reason: "RATE_LIMITED" });
    expect(Number(refused.metadata?.["retry_after_ms"])).toBeGreaterThan(0);
  }
  expect(await reasonFor(client.artifacts.createDownloadUrl({ artifactId }))).toBe("RATE_LIMITED");
  const outcomes = (await accessesTo(client, artifactId)).map(({ outcome }) => outcome);
  expect(outcomes).toEqual([AccessOutcome.RATE_LIMITED, ...Array.from({ length: 5 }, () => GRANTED)]);
});
