import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import {
  ArtifactEncryptionSchema,
  ArtifactSchema,
  ArtifactStatus,
  GranteeSchema,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { grantAccess, type NewGrant, revokeAccess } from "../../src/artifacts/grant-decider.ts";
import { createLink, type NewLink, revokeLink } from "../../src/artifacts/link-decider.ts";
import { type ArtifactState, evolveArtifactState, type KnownArtifact } from "../../src/artifacts/state.ts";
import type { Draft } from "../../src/eventlog/aggregates.ts";
import { derivedId } from "../../src/kernel/ids.ts";

const now = new Date("2026-05-04T10:00:00Z");
const at = (ms: number) => timestampFromDate(new Date(now.getTime() + ms));
const user = (id: string) => create(PrincipalSchema, { type: PrincipalType.USER, id });
const [alice, bob, mallory] = [user("alice"), user("bob"), user("mallory")];
const artifactId = derivedId("art", "a");

const known: KnownArtifact = {
  status: "available",
  artifact: create(ArtifactSchema, {
    artifactId,
    createBy: alice,
    runCreateBy: bob,
    expireTime: at(1_000_000),
    status: ArtifactStatus.AVAILABLE,
  }),
  parts: [],
  grants: [],
  links: [],
  requestDigest: new Uint8Array(),
  zone: Zone.HIGH_STAKES,
};

function wanted(changes: Partial<NewGrant> & { name?: string } = {}): NewGrant {
  const { name = "user:carol", ...rest } = changes;
  const grantee = create(GranteeSchema, { who: { case: "principal", value: name } });
  return { artifactId, grantId: "grant_1", grantee, expireTime: undefined, ...rest };
}

function newLink(changes: Partial<NewLink> = {}): NewLink {
  return { artifactId, linkId: "link_1", tokenDigest: new Uint8Array(32), expiresInMs: 1000, ...changes };
}

/** The state after a decision's event, if it has one. */
function after(state: ArtifactState, draft: Draft | undefined, time = now, actor = alice): ArtifactState {
  if (draft === undefined) return state;
  const { payload } = draft;
  const event = { payload, actor, createTime: timestampFromDate(time), stream: { type: "artifact", id: artifactId } };
  return evolveArtifactState(state, create(EventSchema, event));
}

/** Decides, and again on what came of it: the second time there is nothing to record. */
function twice(decide: (state: ArtifactState) => Draft | undefined, state: ArtifactState): ArtifactState {
  const draft = decide(state);
  expect(draft?.zone).toBe(Zone.HIGH_STAKES);
  const then = after(state, draft);
  expect(decide(then)).toBeUndefined();
  return then;
}

const grantsOf = (state: ArtifactState) => (state.status === "absent" ? [] : state.grants);
const linksOf = (state: ArtifactState) => (state.status === "absent" ? [] : state.links);

describe("granting", () => {
  test("records a grant once for the same grantee and time, and another for another time", () => {
    const state = twice((before) => grantAccess(before, wanted(), alice, now), known);
    expect(grantAccess(state, wanted({ grantId: "grant_2" }), bob, now)).toBeUndefined();
    const timed = wanted({ grantId: "grant_2", expireTime: at(1) });
    expect(grantsOf(twice((before) => grantAccess(before, timed, bob, now), state))).toHaveLength(2);
  });

  test("records it again when the first was revoked or has expired", () => {
    const short = after(known, grantAccess(known, wanted({ expireTime: at(10) }), alice, now));
    const revoked = after(short, revokeAccess(short, wanted(), alice));
    expect(grantAccess(revoked, wanted({ grantId: "grant_2", expireTime: at(10) }), alice, now)).toBeDefined();
    const later = new Date(now.getTime() + 10);
    expect(grantAccess(short, wanted({ grantId: "grant_2" }), alice, later)).toBeDefined();
  });

  test.each([
    ["what does not exist", { status: "absent" } as const, wanted(), alice, "ARTIFACT_NOT_FOUND"],
    ["what is another's", known, wanted(), mallory, "PERMISSION_DENIED"],
    ["what was deleted", { ...known, status: "deleted" } as const, wanted(), alice, "ARTIFACT_EXPIRED"],
    ["for a time that has passed", known, wanted({ expireTime: at(0) }), alice, "INVALID_REQUEST"],
  ])("refuses %s", (_what, state, grant, caller, reason) => {
    expect(() => grantAccess(state, grant, caller, now)).toThrow(expect.objectContaining({ reason }) as Error);
  });

  test("refuses the 201st that holds; what does not hold any more makes room, oldest first", () => {
    let state: ArtifactState = known;
    for (let i = 0; i < 200; i++) {
      const expireTime = i === 0 ? undefined : at(i);
      const grant = wanted({ grantId: `grant_${i}`, name: `user:u${i}`, expireTime });
      state = after(state, grantAccess(state, grant, alice, now));
    }
    const next = wanted({ grantId: "grant_next", name: "user:next" });
    expect(() => grantAccess(state, next, alice, now)).toThrow(
      expect.objectContaining({ reason: "QUOTA_EXCEEDED" }) as Error,
    );
    const later = new Date(now.getTime() + 2);
    const full = after(state, grantAccess(state, next, alice, later), later);
    expect(grantsOf(full)).toHaveLength(200);
    const ids = grantsOf(full).map(({ grantId }) => grantId);
    expect([ids[0], ids[1], ids.at(-1)]).toEqual(["grant_0", "grant_2", "grant_next"]);
  });
});

describe("revoking a grant", () => {
  const granted = after(known, grantAccess(known, wanted(), alice, now));

  test("records it once, also after the artifact is gone", () => {
    const gone = { ...(granted as KnownArtifact), status: "deleted" as const };
    for (const state of [granted, gone]) {
      const then = twice((before) => revokeAccess(before, wanted(), bob), state);
      expect(grantsOf(then)[0]?.revokeTime).toEqual(at(0));
    }
  });

  test.each([
    ["what does not exist", { status: "absent" } as const, "grant_1", alice, "ARTIFACT_NOT_FOUND"],
    ["another's", granted, "grant_1", mallory, "PERMISSION_DENIED"],
    ["a grant that was never given", granted, "grant_2", alice, "GRANT_NOT_FOUND"],
  ])("refuses %s", (_what, state, grantId, caller, reason) => {
    expect(() => revokeAccess(state, { artifactId, grantId }, caller)).toThrow(
      expect.objectContaining({ reason }) as Error,
    );
  });
});

describe("links", () => {
  const linked = after(known, createLink(known, newLink(), now), now, user("carol"));

  test("are recorded with their digest and their end", () => {
    const { link, tokenDigest } = linksOf(linked)[0] ?? {};
    expect(tokenDigest).toEqual(new Uint8Array(32));
    expect(link).toMatchObject({ linkId: "link_1", artifactId, expireTime: at(1000), createBy: { id: "carol" } });
  });

  test.each([
    ["what does not exist", { status: "absent" } as const, "ARTIFACT_NOT_FOUND"],
    ["what has expired", { ...known, status: "expired" } as const, "ARTIFACT_EXPIRED"],
    [
      "what is sealed to a recipient",
      {
        ...known,
        artifact: { ...known.artifact, encryption: create(ArtifactEncryptionSchema, { recipient: "age1x" }) },
      },
      "INVALID_STATE",
    ],
  ])("are refused for %s", (_what, state, reason) => {
    expect(() => createLink(state, newLink(), now)).toThrow(expect.objectContaining({ reason }) as Error);
  });

  test("are at most 200 that hold", () => {
    let state: ArtifactState = known;
    for (let i = 0; i < 200; i++) state = after(state, createLink(state, newLink({ linkId: `link_${i}` }), now));
    expect(() => createLink(state, newLink(), now)).toThrow(
      expect.objectContaining({ reason: "QUOTA_EXCEEDED" }) as Error,
    );
    const later = new Date(now.getTime() + 1000);
    expect(linksOf(after(state, createLink(state, newLink({ linkId: "link_x" }), later), later))).toHaveLength(200);
  });

  test("are revoked by their maker and by the artifact's owners, once", () => {
    for (const caller of [user("carol"), alice, bob]) {
      const then = twice((before) => revokeLink(before, newLink(), caller), linked);
      expect(linksOf(then)[0]?.link.revokeTime).toEqual(at(0));
    }
    for (const [caller, linkId, reason] of [
      [mallory, "link_1", "PERMISSION_DENIED"],
      [alice, "link_2", "GRANT_NOT_FOUND"],
    ] as const) {
      expect(() => revokeLink(linked, { artifactId, linkId }, caller)).toThrow(
        expect.objectContaining({ reason }) as Error,
      );
    }
  });
});
