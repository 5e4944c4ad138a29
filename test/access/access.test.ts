import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ArtifactDeletedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessMethod, AccessOutcome, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import { GrantAccessRequestSchema, RevokeAccessRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { RoleSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { callBy, minuteMs, openAccessFixture } from "./fixture.ts";

const method = AccessMethod.DOWNLOAD;

test("what is granted is on record before it is answered: who, on what, from where", async () => {
  const box = openAccessFixture();
  const artifactId = await box.artifact({ runId: derivedId("run", "r") });
  const call = callBy("service:shop", "user:alice");
  const known = await box.access.require(call, { artifactId, method, offset: 17n });
  expect(known.artifact.artifactId).toBe(artifactId);
  expect(await box.lines()).toMatchObject([
    {
      artifactId,
      runId: derivedId("run", "r"),
      method,
      outcome: AccessOutcome.GRANTED,
      principal: call.principal,
      grantee: "owner",
      detail: "",
      offset: 17n,
      remoteAddress: "192.0.2.7",
    },
  ]);
});

describe("what is refused is on record, with the reason", () => {
  test("for others of the workspace", async () => {
    const box = openAccessFixture();
    const artifactId = await box.artifact();
    const asked = box.access.require(callBy("user:mallory"), { artifactId, method });
    await expect(asked).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
    expect(await box.lines()).toMatchObject([
      {
        outcome: AccessOutcome.REFUSED,
        artifactId,
        grantee: "",
        detail: expect.stringContaining("may not read") as string,
      },
    ]);
  });

  test("for another tenant, in that tenant's log, as if it had never been", async () => {
    const box = openAccessFixture();
    const artifactId = await box.artifact({ visibility: ArtifactVisibility.WORKSPACE });
    const call = { ...callBy("user:alice"), workspaceId: "ws_b" };
    const never = derivedId("art", "never");
    const messages = [];
    for (const id of [artifactId, never]) {
      const asked = box.access.require(call, { artifactId: id, method });
      await expect(asked).rejects.toMatchObject({ reason: "ARTIFACT_NOT_FOUND" });
      messages.push(await asked.catch((error: unknown) => String(error).replaceAll(id, "ID")));
    }
    expect(messages[0]).toBe(messages[1]);
    const events = (await box.events()).filter(({ payload }) => payload.case === "artifactAccessed");
    expect(events.map(({ workspaceId }) => workspaceId)).toEqual(["ws_b", "ws_b"]);
    expect(await box.lines()).toMatchObject([
      { outcome: AccessOutcome.NOT_FOUND, artifactId },
      { outcome: AccessOutcome.NOT_FOUND, artifactId: never },
    ]);
  });

  test("for what was deleted and for what is past its time, whoever asks", async () => {
    const box = openAccessFixture();
    const deleted = await box.artifact();
    await box.record(deleted, { case: "artifactDeleted", value: create(ArtifactDeletedSchema, {}) });
    const expired = await box.artifact();
    box.pass(8 * 24 * 60 * minuteMs);
    for (const artifactId of [deleted, expired]) {
      for (const name of ["user:alice", "user:mallory"]) {
        const asked = box.access.require(callBy(name), { artifactId, method });
        await expect(asked).rejects.toMatchObject({ reason: "ARTIFACT_EXPIRED" });
      }
    }
    expect((await box.lines()).map(({ outcome }) => outcome)).toEqual(Array(4).fill(AccessOutcome.GONE));
  });
});

test("a grantee reads by name or by role until the grant ends", async () => {
  const roles = [create(RoleSchema, { name: "auditor", members: ["user:carol"] })];
  const box = openAccessFixture({ roles });
  const artifactId = await box.artifact();
  const grantee = { who: { case: "principal", value: "role:auditor" } } as const;
  const { grant } = await box.grants.grant(
    callBy("user:alice"),
    create(GrantAccessRequestSchema, { artifactId, grantee }),
  );
  await box.access.require(callBy("agent:agt_1", "user:carol"), { artifactId, method });
  const { grantId } = grant;
  await box.grants.revoke(callBy("user:alice"), create(RevokeAccessRequestSchema, { artifactId, grantId }));
  const asked = box.access.require(callBy("user:carol"), { artifactId, method });
  await expect(asked).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  expect(await box.lines()).toMatchObject([
    { outcome: AccessOutcome.GRANTED, grantee: "role:auditor", grantId },
    { outcome: AccessOutcome.REFUSED, grantee: "", grantId: "" },
  ]);
});

test("who asks too often is told when to come back, is on record once, and counted; others go on", async () => {
  const box = openAccessFixture({ perMinute: 3 });
  const artifactId = await box.artifact();
  const ask = (name: string) => box.access.require(callBy(name), { artifactId, method });
  for (let i = 0; i < 3; i++) await ask("user:alice");
  for (let i = 0; i < 5; i++) {
    const error = { reason: "RATE_LIMITED", metadata: { retry_after_ms: "20000" } };
    await expect(ask("user:alice")).rejects.toMatchObject(error);
  }
  await expect(ask("user:bob")).rejects.toMatchObject({ reason: "PERMISSION_DENIED" });
  box.pass(20_000);
  await ask("user:alice");
  const { GRANTED, RATE_LIMITED, REFUSED } = AccessOutcome;
  const lines = (await box.lines()).map(({ outcome, repeatedCount }) => [outcome, repeatedCount]);
  const granted = [GRANTED, 0n];
  expect(lines).toEqual([granted, granted, granted, [RATE_LIMITED, 0n], [REFUSED, 0n], [GRANTED, 4n]]);
});

test("an artifact's lines of a day stand in one stream, those of the next day in another", async () => {
  const box = openAccessFixture();
  const artifactId = await box.artifact();
  for (const hours of [0, 13, 1, 23]) {
    box.pass(hours * 60 * minuteMs);
    await box.access.require(callBy("user:alice"), { artifactId, method });
  }
  const events = (await box.events()).filter(({ type }) => type === "artifact.accessed");
  expect(events.map(({ streamSequence }) => streamSequence)).toEqual([1n, 2n, 1n, 2n]);
  expect(new Set(events.map(({ stream }) => `${stream?.type} ${stream?.id}`)).size).toBe(2);
  expect(events.every(({ stream, roomId }) => stream?.type === "artifact_access" && roomId === "")).toBe(true);
});

test("nothing is answered when it can not be recorded", async () => {
  const box = openAccessFixture({ logFails: true });
  const artifactId = await box.artifact();
  const asked = box.access.require(callBy("user:alice"), { artifactId, method });
  await expect(asked).rejects.toMatchObject({ reason: "STORE_UNAVAILABLE" });
});
