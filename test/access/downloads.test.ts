import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, test } from "vitest";
import { ArtifactDeletedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessMethod, AccessOutcome } from "../../gen/signalbox/v1/artifact_pb.ts";
import {
  CreateDownloadUrlRequestSchema,
  GrantAccessRequestSchema,
  RevokeAccessRequestSchema,
  RevokeDownloadUrlRequestSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { signPath } from "../../src/access/signed-url.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { callBy, minuteMs, openAccessFixture } from "./fixture.ts";

const alice = callBy("user:alice");
const carol = callBy("user:carol");
const visitor = { remoteAddress: "198.51.100.4", correlationId: "corr_v", traceparent: "" };

let box: ReturnType<typeof openAccessFixture>;
let artifactId: string;

beforeEach(async () => {
  box = openAccessFixture();
  artifactId = await box.artifact();
});

async function link(call = alice, expiresInMs?: number) {
  const times = expiresInMs === undefined ? {} : { expiresIn: durationFromMs(expiresInMs) };
  const made = await box.links.create(call, create(CreateDownloadUrlRequestSchema, { artifactId, ...times }));
  return { ...made, token: made.url.slice("https://box.example/artifacts/".length) };
}

/** Follows a link, and uses where it leads. */
async function use(token: string) {
  const path = await box.downloads.follow(token, visitor);
  return usePath(path);
}

async function usePath(path: string) {
  const [, workspaceId = "", id = "", query = ""] = /^(\w+)\/(\w+)\?(.*)$/.exec(path) ?? [];
  const visit = await box.downloads.visit({ workspaceId, artifactId: id }, query, visitor);
  return visit.admit(5n);
}

async function lastLine() {
  return (await box.lines()).at(-1);
}

test("a link leads to the bytes as often as it is used, signed anew each time, and all is on record", async () => {
  const { token, url, link: made } = await link();
  expect(url).toBe(`https://box.example/artifacts/${token}`);
  const first = await box.downloads.follow(token, visitor);
  box.pass(minuteMs);
  const second = await box.downloads.follow(token, visitor);
  expect(first).not.toBe(second);
  await usePath(first);
  await usePath(second);
  const { GRANTED } = AccessOutcome;
  const used = {
    outcome: GRANTED,
    method: AccessMethod.URL,
    grantee: `link:${made.linkId}`,
    grantId: made.linkId,
    offset: 5n,
  };
  const lines = await box.lines();
  expect(lines).toMatchObject([{ outcome: GRANTED, method: AccessMethod.LINK, grantee: "owner" }, used, used]);
  expect(lines[1]?.remoteAddress).toBe("198.51.100.4");
  expect(lines[1]?.principal).toBeUndefined();
});

test("neither the log nor the link on record says the token", async () => {
  const { token } = await link();
  const text = JSON.stringify(await box.events(), (_key, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value,
  );
  expect(text).toContain("artifactLinkCreated");
  expect(text).not.toContain(token);
});

describe("refused and on record:", () => {
  /** Why, and what is on record of it. */
  async function refusalOf(used: Promise<unknown>) {
    const before = (await box.lines()).length;
    const why = await used.then(
      () => "not refused",
      (error: unknown) => (error instanceof SignalboxError ? error.reason : String(error)),
    );
    const lines = (await box.lines()).slice(before);
    return [why, ...lines.map(({ outcome, artifactId: id, method }) => [outcome, id, method])];
  }

  const line = (outcome: AccessOutcome) => [outcome, artifactId, AccessMethod.URL];
  const denied = () => ["PERMISSION_DENIED", line(AccessOutcome.REFUSED)];

  test("a link after its time, and where it led", async () => {
    const { token } = await link(alice, 2 * minuteMs);
    const path = await box.downloads.follow(token, visitor);
    box.pass(2 * minuteMs);
    expect(await refusalOf(use(token))).toEqual(denied());
    expect(await refusalOf(usePath(path))).toEqual(denied());
  });

  test("a link that was revoked, and where it led", async () => {
    const { token, link: made } = await link();
    const path = await box.downloads.follow(token, visitor);
    await box.links.revoke(alice, create(RevokeDownloadUrlRequestSchema, { artifactId, linkId: made.linkId }));
    expect(await refusalOf(use(token))).toEqual(denied());
    expect(await refusalOf(usePath(path))).toEqual(denied());
  });

  test("a link whose maker may not read the artifact any more", async () => {
    const grantee = { who: { case: "principal", value: "user:carol" } } as const;
    const { grant } = await box.grants.grant(alice, create(GrantAccessRequestSchema, { artifactId, grantee }));
    const { token } = await link(carol);
    await use(token);
    const { grantId } = grant;
    await box.grants.revoke(alice, create(RevokeAccessRequestSchema, { artifactId, grantId }));
    expect(await refusalOf(use(token))).toEqual(denied());
  });

  test("an artifact that was deleted, by its link and by where that led", async () => {
    const { token } = await link();
    const path = await box.downloads.follow(token, visitor);
    await box.record(artifactId, { case: "artifactDeleted", value: create(ArtifactDeletedSchema, {}) });
    expect(await refusalOf(use(token))).toEqual(["ARTIFACT_EXPIRED", line(AccessOutcome.GONE)]);
    expect(await refusalOf(usePath(path))).toEqual(["ARTIFACT_EXPIRED", line(AccessOutcome.GONE)]);
  });

  test("a URL after its time, though its link holds", async () => {
    const { token } = await link();
    const path = await box.downloads.follow(token, visitor);
    box.pass(5 * minuteMs);
    expect(await refusalOf(usePath(path))).toEqual(denied());
    await use(token);
  });

  test("a URL that was changed to another artifact", async () => {
    const other = artifactId;
    artifactId = await box.artifact();
    const { token } = await link();
    const path = await box.downloads.follow(token, visitor);
    const changed = path.replace(artifactId, other);
    artifactId = other;
    expect(await refusalOf(usePath(changed))).toEqual(denied());
  });

  test("a well signed URL of a grant to a name, which only the API can prove", async () => {
    const grantee = { who: { case: "principal", value: "user:carol" } } as const;
    const { grant } = await box.grants.grant(alice, create(GrantAccessRequestSchema, { artifactId, grantee }));
    const signed = { workspaceId: "ws_a", artifactId, grantId: grant.grantId, expireSeconds: 2_000_000_000 };
    expect(await refusalOf(usePath(signPath(box.keys.url, signed)))).toEqual(denied());
  });
});

test("a token that nobody made leads nowhere, after the read model was given time", async () => {
  await expect(use("A".repeat(22))).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
  for (const text of ["", "short", "../../etc/passwd", "A".repeat(65)]) {
    await expect(use(text)).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
  }
  expect(await box.lines()).toEqual([]);
});

test("somebody without a key writes nothing into the log of what never was", async () => {
  const never = derivedId("art", "never");
  await expect(usePath(`ws_a/${never}?g=x`)).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  expect(await box.events()).toHaveLength(1);
});

test("guessing is limited by the place on the network", async () => {
  const limited = openAccessFixture({ perMinute: 3 });
  for (let i = 0; i < 3; i++) await expect(limited.downloads.follow("x", visitor)).rejects.toThrow("no link");
  await expect(limited.downloads.follow("x", visitor)).rejects.toMatchObject({ reason: "RATE_LIMITED" });
  const elsewhere = { ...visitor, remoteAddress: "203.0.113.9" };
  await expect(limited.downloads.follow("x", elsewhere)).rejects.toThrow("no link");
});

test("an artifact that is sealed to a recipient has no link and no URL", async () => {
  artifactId = await box.artifact({ encryption: { recipient: "age1x" } });
  await expect(link()).rejects.toMatchObject({ reason: "INVALID_STATE" });
  const grantee = { who: { case: "ethereumAddress", value: `0x${"ab".repeat(20)}` } } as const;
  const { grant } = await box.grants.grant(alice, create(GrantAccessRequestSchema, { artifactId, grantee }));
  const signed = { workspaceId: "ws_a", artifactId, grantId: grant.grantId, expireSeconds: 2_000_000_000 };
  await expect(usePath(signPath(box.keys.url, signed))).rejects.toMatchObject({ reason: "INVALID_STATE" });
  expect(await lastLine()).toMatchObject({ outcome: AccessOutcome.REFUSED, grantId: grant.grantId });
});
