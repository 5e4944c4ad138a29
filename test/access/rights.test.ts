import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ArtifactGrantSchema,
  ArtifactSchema,
  ArtifactVisibility,
  DownloadLinkSchema,
  type Grantee,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { RoleSchema } from "../../gen/signalbox/v1/policy_pb.ts";
import {
  accessIdentity,
  type Guarded,
  rightOfGrant,
  rightOfKey,
  rightOfLink,
  rightToRead,
} from "../../src/access/rights.ts";
import { principalName } from "../../src/kernel/principal.ts";
import { callBy } from "./fixture.ts";

const now = new Date("2026-05-04T10:00:00Z");
const at = (ms: number) => timestampFromDate(new Date(now.getTime() + ms));
const auditors = [create(RoleSchema, { name: "auditor", members: ["user:carol", "service:ci"] })];
const address = `0x${"ab".repeat(20)}`;

function grant(grantId: string, who: Grantee["who"], times: { expires?: number; revoked?: boolean } = {}) {
  return create(ArtifactGrantSchema, {
    grantId,
    grantee: { who },
    ...(times.expires === undefined ? {} : { expireTime: at(times.expires) }),
    ...(times.revoked ? { revokeTime: at(-1) } : {}),
  });
}

function guarded(
  changes: Partial<Guarded> = {},
  visibility: ArtifactVisibility = ArtifactVisibility.RESTRICTED,
): Guarded {
  const artifact = create(ArtifactSchema, {
    createBy: callBy("agent:agt_1", "user:alice").principal,
    runCreateBy: callBy("service:shop", "user:bob").principal,
    visibility,
  });
  return { artifact, grants: [], links: [], ...changes };
}

function reads(names: string[], artifact: Guarded) {
  return rightToRead(artifact, callBy(...names).principal, auditors, now)?.grantee;
}

test.each([
  [["user:alice"], "user:alice"],
  [["agent:agt_1", "user:alice"], "user:alice"],
  [["service:shop", "agent:agt_1", "user:alice", "user:bob"], "user:alice"],
  [["agent:agt_1"], "agent:agt_1"],
  [["service:handler:report", "user:alice"], "user:alice"],
  [["service:shop", "agent:agt_2"], "agent:agt_2"],
  [["service:shop", "service:ci"], "service:shop"],
])("%j reads as %s", (names, identity) => {
  expect(principalName(accessIdentity(callBy(...names).principal))).toBe(identity);
});

describe("an artifact", () => {
  test("is read by who stands behind its creator and behind its run's creator, and by nobody else", () => {
    expect(reads(["user:alice"], guarded())).toBe("owner");
    expect(reads(["service:gateway", "user:bob"], guarded())).toBe("owner");
    expect(reads(["user:carol"], guarded())).toBeUndefined();
    expect(reads(["service:shop"], guarded())).toBeUndefined();
    expect(reads(["agent:agt_1"], guarded())).toBeUndefined();
    expect(reads([], guarded())).toBeUndefined();
  });

  test("without a creator on record is nobody's, not everybody's", () => {
    const artifact = create(ArtifactSchema, { visibility: ArtifactVisibility.RESTRICTED });
    expect(reads([], { artifact, grants: [], links: [] })).toBeUndefined();
  });

  test("that says so is read by everybody in the workspace", () => {
    expect(reads(["user:carol"], guarded({}, ArtifactVisibility.WORKSPACE))).toBe("workspace");
  });
});

describe("a grant", () => {
  const to = (value: string, times: Parameters<typeof grant>[2] = {}) =>
    guarded({ grants: [grant("grant_1", { case: "principal", value }, times)] });

  test.each([
    ["by name", ["user:carol"], to("user:carol"), "user:carol"],
    ["by name, through a program", ["service:shop", "user:carol"], to("user:carol"), "user:carol"],
    ["by role", ["user:carol"], to("role:auditor"), "role:auditor"],
    ["by a role of programs", ["service:ci"], to("role:auditor"), "role:auditor"],
    ["until its time", ["user:carol"], to("user:carol", { expires: 1 }), "user:carol"],
    ["not at its time", ["user:carol"], to("user:carol", { expires: 0 }), undefined],
    ["not once it was revoked", ["user:carol"], to("user:carol", { revoked: true }), undefined],
    ["not for others", ["user:dave"], to("user:carol"), undefined],
    ["not for others of no role", ["user:dave"], to("role:auditor"), undefined],
    ["not for a role that there is not", ["user:carol"], to("role:admin"), undefined],
    ["not for who has the role's name", ["user:auditor"], to("role:auditor"), undefined],
  ] as const)("lets read %s", (_what, names, artifact, grantee) => {
    expect(reads([...names], artifact)).toBe(grantee);
  });

  test("to a key lets its holder read, whatever the case of the address, and nobody by name", () => {
    const artifact = guarded({
      grants: [
        grant("grant_k", { case: "ethereumAddress", value: address }),
        grant("grant_n", { case: "principal", value: "user:carol" }),
      ],
    });
    expect(rightOfKey(artifact, `ethereum:${address}`, now)).toEqual({
      grantee: `ethereum:${address}`,
      grantId: "grant_k",
    });
    expect(rightOfKey(artifact, "user:carol", now)).toBeUndefined();
    expect(rightOfGrant(artifact, "grant_k", now)?.grantee).toBe(`ethereum:${address}`);
    expect(rightOfGrant(artifact, "grant_n", now)).toBeUndefined();
    expect(rightOfGrant(artifact, "grant_x", now)).toBeUndefined();
  });
});

describe("a link", () => {
  const link = (createBy: string, changes = {}) => ({
    tokenDigest: new Uint8Array(32),
    link: create(DownloadLinkSchema, {
      linkId: "link_1",
      createBy: callBy(createBy).principal,
      expireTime: at(1000),
      ...changes,
    }),
  });
  const carols = grant("grant_1", { case: "principal", value: "user:carol" });

  test("holds as long as its maker may read", () => {
    const right = (artifact: Guarded) => rightOfLink(artifact, "link_1", auditors, now)?.grantee;
    expect(right(guarded({ links: [link("user:alice")] }))).toBe("link:link_1");
    expect(right(guarded({ links: [link("user:carol")], grants: [carols] }))).toBe("link:link_1");
    expect(
      right(guarded({ links: [link("user:carol")], grants: [{ ...carols, revokeTime: at(-1) }] })),
    ).toBeUndefined();
    expect(right(guarded({ links: [link("user:carol")] }))).toBeUndefined();
  });

  test("does not hold after its time, nor once it was revoked", () => {
    for (const changes of [{ expireTime: at(0) }, { revokeTime: at(-1) }]) {
      expect(rightOfLink(guarded({ links: [link("user:alice", changes)] }), "link_1", [], now)).toBeUndefined();
    }
  });
});

test("no set of grants lets somebody read whom none of those that hold names", () => {
  const names = ["user:alice", "user:carol", "user:dave", "agent:agt_9", "service:ci", "role:auditor", "role:admin"];
  const grants = fc.array(
    fc.record({ value: fc.constantFrom(...names), expires: fc.integer({ min: -5, max: 5 }), revoked: fc.boolean() }),
  );
  fc.assert(
    fc.property(grants, fc.constantFrom("user:carol", "user:dave", "agent:agt_9", "service:ci"), (given, name) => {
      const artifact = guarded({
        grants: given.map(({ value, ...times }, index) => grant(`grant_${index}`, { case: "principal", value }, times)),
      });
      const mine = [name, ...(auditors[0]?.members.includes(name) ? ["role:auditor"] : [])];
      const first = given.findIndex(({ value, expires, revoked }) => mine.includes(value) && expires > 0 && !revoked);
      const basis = rightToRead(artifact, callBy(name).principal, auditors, now);
      expect(basis?.grantId).toBe(first === -1 ? undefined : `grant_${first}`);
    }),
  );
});
