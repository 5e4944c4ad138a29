import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ed25519 } from "@noble/curves/ed25519.js";
import { beforeEach, describe, expect, test } from "vitest";
import { ArtifactDeletedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessMethod, AccessOutcome, type Grantee, GranteeSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  AnswerAccessChallengeRequestSchema,
  CreateAccessChallengeRequestSchema,
  GrantAccessRequestSchema,
  RevokeAccessRequestSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { writeChallenge } from "../../src/access/challenge.ts";
import { createMemoryNonces, nonceTtlMs } from "../../src/access/nonces.ts";
import { hasReason } from "../../src/kernel/errors.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { createTestClock } from "../../src/testing/test-clock.ts";
import { callBy, minuteMs, openAccessFixture, start } from "./fixture.ts";
import { personalSign, walletOf } from "./wallet.ts";

const alice = callBy("user:alice");
const stranger = callBy();
const secret = new Uint8Array(32).fill(3);
const key = grantee({ case: "ed25519PublicKey", value: Buffer.from(ed25519.getPublicKey(secret)).toString("hex") });
const wallet = grantee({ case: "ethereumAddress", value: walletOf(secret).toUpperCase().replace("0X", "0x") });

function grantee(who: Grantee["who"]): Grantee {
  return create(GranteeSchema, { who });
}

function signEd25519(text: string): string {
  return Buffer.from(ed25519.sign(Buffer.from(text), secret)).toString("hex");
}

function open(options: Parameters<typeof openAccessFixture>[0] = {}) {
  const box = openAccessFixture(options);
  return {
    ...box,
    grant: async (artifactId: string, to: Grantee, expireTime?: Date) => {
      const times = expireTime === undefined ? {} : { expireTime: timestampFromDate(expireTime) };
      const request = create(GrantAccessRequestSchema, { artifactId, grantee: to, ...times });
      return (await box.grants.grant(alice, request)).grant.grantId;
    },
    challenge: async (artifactId: string, to: Grantee, call = stranger) => {
      const request = create(CreateAccessChallengeRequestSchema, { artifactId, grantee: to });
      return (await box.challenges.create(call, request)).challenge;
    },
    answer: (challenge: string, signature: string, call = stranger) =>
      box.challenges.answer(call, create(AnswerAccessChallengeRequestSchema, { challenge, signature })),
  };
}

let box: ReturnType<typeof open>;
let artifactId: string;

beforeEach(async () => {
  box = open();
  artifactId = await box.artifact();
});

test("people can read what they sign", async () => {
  const text = await box.challenge(artifactId, wallet);
  for (const line of [
    "Domain: signalbox",
    "Workspace: ws_a",
    `Artifact: ${artifactId}`,
    `Grantee: ethereum:${walletOf(secret)}`,
    "Issued at: 2026-05-04T10:00:00.000Z",
    "Expires at: 2026-05-04T10:05:00.000Z",
  ]) {
    expect(text.split("\n")).toContain(line);
  }
});

test.each([
  ["an Ed25519 key", key, signEd25519],
  ["a wallet", wallet, (text: string) => personalSign(secret, text)],
])("%s that was granted access gets a URL, once, and all of it is on record", async (_what, to, sign) => {
  const grantId = await box.grant(artifactId, to);
  const text = await box.challenge(artifactId, to);
  const { url } = await box.answer(text, sign(text));
  expect(url).toMatch(new RegExp(`^https://box.example/artifacts/ws_a/${artifactId}\\?g=${grantId}&exp=\\d+&sig=`));
  const visitor = { remoteAddress: "192.0.2.7", correlationId: "corr_1", traceparent: "" };
  const visit = await box.downloads.visit({ workspaceId: "ws_a", artifactId }, new URL(url).search.slice(1), visitor);
  await visit.admit(0n);
  const replayed = box.answer(text, sign(text));
  await expect(replayed).rejects.toMatchObject({
    reason: "PERMISSION_DENIED",
    message: expect.stringContaining("before") as string,
  });
  const { GRANTED, REFUSED } = AccessOutcome;
  expect(await box.lines()).toMatchObject([
    {
      outcome: GRANTED,
      method: AccessMethod.CHALLENGE,
      grantId,
      grantee: expect.stringMatching(/^(ed25519|ethereum):/) as string,
    },
    {
      outcome: GRANTED,
      method: AccessMethod.URL,
      grantId,
      grantee: expect.stringMatching(/^(ed25519|ethereum):/) as string,
    },
    { outcome: REFUSED, method: AccessMethod.CHALLENGE, detail: expect.stringContaining("before") as string },
  ]);
  expect((await box.lines()).every(({ principal }) => principal === undefined)).toBe(true);
});

describe("refused and on record:", () => {
  const refused = (why: string) => new RegExp(`^(?!not |otherwise).*${why}`);

  /** What is said, which has to be what is on record. */
  async function refusalOf(answered: Promise<unknown>, of = artifactId): Promise<string> {
    const before = (await box.lines()).length;
    const said = await answered.then(
      () => "not refused",
      (error: unknown) => (hasReason(error, "PERMISSION_DENIED") ? error.message : `otherwise: ${String(error)}`),
    );
    const lines = (await box.lines()).slice(before);
    const recorded = lines.every(({ outcome, artifactId: id }) => outcome === AccessOutcome.REFUSED && id === of);
    return recorded && lines.length === 1 && lines[0]?.detail === said ? said : `not on record: ${said}`;
  }

  test("a signature for another artifact, workspace or grantee", async () => {
    await box.grant(artifactId, key);
    const other = await box.artifact();
    const text = await box.challenge(other, key);
    const signature = signEd25519(text);
    expect(await refusalOf(box.answer(text.replace(other, artifactId), signature))).toMatch(refused("changed"));
    const here = await box.challenge(artifactId, key);
    expect(await refusalOf(box.answer(here, signature))).toMatch(refused("signature"));
    expect(await refusalOf(box.answer(text, signature), other)).toMatch(refused("nothing is granted"));
    const wallets = await box.challenge(artifactId, wallet);
    expect(await refusalOf(box.answer(wallets, signEd25519(wallets)))).toMatch(refused("signature"));
    const twin = await box.artifact({}, "ws_b");
    const there = await box.challenge(twin, key, { ...stranger, workspaceId: "ws_b" });
    expect(await refusalOf(box.answer(there.replace(twin, artifactId), signEd25519(there)))).toMatch(
      refused("changed"),
    );
    await expect(box.answer(there, signEd25519(there))).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  });

  test("a key that was granted nothing, whose grant has expired or was revoked", async () => {
    const ask = async () => {
      const text = await box.challenge(artifactId, key);
      return box.answer(text, signEd25519(text));
    };
    expect(await refusalOf(ask())).toMatch(refused("nothing is granted"));
    await box.grant(artifactId, key, new Date(start.getTime() + minuteMs));
    await ask();
    box.pass(minuteMs);
    expect(await refusalOf(ask())).toMatch(refused("nothing is granted"));
    const grantId = await box.grant(artifactId, key);
    await ask();
    await box.grants.revoke(alice, create(RevokeAccessRequestSchema, { artifactId, grantId }));
    expect(await refusalOf(ask())).toMatch(refused("nothing is granted"));
  });

  test("an answer that comes too late, or whose server lives in the future", async () => {
    await box.grant(artifactId, key);
    const text = await box.challenge(artifactId, key);
    const issueTime = new Date(start.getTime() + 5.5 * minuteMs);
    const expireTime = new Date(issueTime.getTime() + 5 * minuteMs);
    const names = { domain: "signalbox", workspaceId: "ws_a", artifactId, grantee: `ed25519:${key.who.value}` };
    const early = writeChallenge(box.keys.challenge, { ...names, nonce: "0".repeat(32), issueTime, expireTime });
    expect(await refusalOf(box.answer(early, signEd25519(early)))).toMatch(refused("future"));
    box.pass(5 * minuteMs);
    expect(await refusalOf(box.answer(text, signEd25519(text)))).toMatch(refused("expired"));
    // Within the time that clocks may differ.
    await box.answer(early, signEd25519(early));
  });

  test("a challenge of another installation, or of another address of this one", async () => {
    await box.grant(artifactId, key);
    const foreign = writeChallenge(new Uint8Array(32), {
      domain: "signalbox",
      workspaceId: "ws_a",
      artifactId,
      grantee: `ed25519:${key.who.value}`,
      nonce: "0".repeat(32),
      issueTime: start,
      expireTime: new Date(start.getTime() + minuteMs),
    });
    expect(await refusalOf(box.answer(foreign, signEd25519(foreign)))).toMatch(refused("installation"));
    const text = await open({ publicUrl: "https://phish.example" }).challenge(artifactId, key);
    expect(text).toContain("Domain: https://phish.example");
    expect(await refusalOf(box.answer(text, signEd25519(text)))).toMatch(refused("another address"));
  });

  test("every changed character of a challenge", async () => {
    await box.grant(artifactId, key);
    const text = await box.challenge(artifactId, key);
    for (let at = 0; at < text.length; at += 13) {
      const changed = text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);
      await expect(box.answer(changed, signEd25519(changed))).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
    }
    await expect(box.answer(`${text}\n`, signEd25519(`${text}\n`))).rejects.toThrow("changed");
    await box.answer(text, signEd25519(text));
  });
});

test("a wrong signature does not use a challenge up", async () => {
  await box.grant(artifactId, key);
  const text = await box.challenge(artifactId, key);
  await expect(box.answer(text, "00".repeat(64))).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  await box.answer(text, signEd25519(text));
});

test("whoever asks learns nothing about what there is", async () => {
  const never = derivedId("art", "never");
  const [here, there] = [await box.challenge(artifactId, key), await box.challenge(never, key)];
  const varying = /(?<=Nonce: |Seal: )\S+/g;
  expect(there.replaceAll(never, artifactId).replaceAll(varying, "")).toBe(here.replaceAll(varying, ""));
  const errors = await Promise.all(
    [here, there].map((text) => box.answer(text, signEd25519(text)).catch((error: unknown) => String(error))),
  );
  expect(errors[0]).toBe(errors[1]);
});

test("only who was granted access learns that the bytes are gone", async () => {
  await box.grant(artifactId, key);
  await box.record(artifactId, { case: "artifactDeleted", value: create(ArtifactDeletedSchema, {}) });
  const mine = await box.challenge(artifactId, key);
  await expect(box.answer(mine, signEd25519(mine))).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
  const theirs = await box.challenge(artifactId, wallet);
  const answered = box.answer(theirs, personalSign(secret, theirs));
  await expect(answered).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
});

test("a name answers no challenge", async () => {
  const name = grantee({ case: "principal", value: "user:alice" });
  await expect(box.challenge(artifactId, name)).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
});

test("asking and answering are limited by the place on the network", async () => {
  const limited = open({ perMinute: 2 });
  const near = { ...stranger, remoteAddress: "2001:db8:1:2::1" };
  await limited.challenge(artifactId, key, near);
  // Who has no name may say whatever workspace they like.
  await limited.challenge(artifactId, key, { ...near, workspaceId: "ws_two", remoteAddress: "2001:db8:1:2::2" });
  const third = limited.challenge(artifactId, key, { ...near, remoteAddress: "2001:db8:1:2::3" });
  await expect(third).rejects.toMatchObject({ reason: "RATE_LIMITED" });
  await expect(limited.answer("x", "00".repeat(64), near)).rejects.toMatchObject({ reason: "RATE_LIMITED" });
  await limited.challenge(artifactId, key, { ...near, remoteAddress: "2001:db8:1:3::1" });
});

test("nonces are remembered for as long as they are worth something", async () => {
  const clock = createTestClock(start);
  const nonces = createMemoryNonces({ clock });
  expect([await nonces.spend("a"), await nonces.spend("a"), await nonces.spend("b")]).toEqual([true, false, true]);
  clock.advanceTo(new Date(start.getTime() + nonceTtlMs));
  expect(await nonces.spend("a")).toBe(true);
});
