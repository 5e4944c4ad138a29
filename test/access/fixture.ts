import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ArtifactCreatedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { type ArtifactAccess, ArtifactPurpose } from "../../gen/signalbox/v1/artifact_pb.ts";
import { PrincipalSchema, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Role } from "../../gen/signalbox/v1/policy_pb.ts";
import { accessKeys } from "../../src/access/access-keys.ts";
import { createAccessLog } from "../../src/access/access-log.ts";
import { createAccess } from "../../src/access/access.ts";
import { createAttempts } from "../../src/access/attempts.ts";
import { createChallenges } from "../../src/access/challenges.ts";
import { createDownloads, type Span } from "../../src/access/downloads.ts";
import { createMemoryNonces } from "../../src/access/nonces.ts";
import { createRateLimit } from "../../src/access/rate-limit.ts";
import { artifactExpired, artifactNotFound } from "../../src/artifacts/decider.ts";
import { createGrants } from "../../src/artifacts/grant-commands.ts";
import { createLinks } from "../../src/artifacts/link-commands.ts";
import { artifactAggregate, isAvailable, type KnownArtifact } from "../../src/artifacts/state.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import type { Call } from "../../src/kernel/call.ts";
import { equalBytes, sha256 } from "../../src/kernel/digest.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { randomIds } from "../../src/kernel/ids.ts";
import { anonymous, onBehalfOf, principalOfName } from "../../src/kernel/principal.ts";
import { createTestClock } from "../../src/testing/test-clock.ts";

/** When every fixture's clock starts. */
export const start = new Date("2026-05-04T10:00:00.000Z");
export const minuteMs = 60_000;

/** What a fixture can differ in. */
export interface AccessFixtureOptions {
  readonly roles?: readonly Role[];
  readonly perMinute?: number;
  readonly publicUrl?: string;
  /** True for a log that takes no lines of the access log. */
  readonly logFails?: boolean;
  readonly openContents?: (
    known: KnownArtifact,
    span?: Span,
    signal?: AbortSignal,
  ) => Promise<AsyncIterable<Uint8Array>>;
}

/** Somebody who calls, by names as in x-on-behalf-of: the first is the caller; no names for nobody in particular. */
export function callBy(...names: string[]): Call {
  const [first, ...rest] = names.map((name) => {
    const principal = principalOfName(name);
    if (principal === undefined) throw new Error(`${name} is no name`);
    return principal;
  });
  return {
    workspaceId: "ws_a",
    principal: first === undefined ? anonymous : onBehalfOf(create(PrincipalSchema, first), rest),
    correlationId: "corr_test",
    traceparent: "",
    remoteAddress: "192.0.2.7",
    serverUrl: "https://box.example",
    signal: new AbortController().signal,
  };
}

/** The bytes of every artifact of a fixture. */
export const bytes = Buffer.from(Array.from({ length: 1000 }, (_, index) => index % 251));

/** Access, grants, links, challenges and downloads on a log in memory, with bytes in memory. */
export function openAccessFixture(options: AccessFixtureOptions = {}) {
  const { roles = [], perMinute, publicUrl } = options;
  const clock = createTestClock(start);
  const subjects = createSubjects();
  const log = createEventLog(createMemoryStore(), subjects);
  const ids = randomIds;
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  const shelf = {
    async find(workspaceId: string, artifactId: string) {
      const { state } = await aggregates.load(workspaceId, artifactId);
      return state.status === "absent" ? undefined : state;
    },
    missing: artifactNotFound,
    gone: (known: KnownArtifact, now: Date) => (isAvailable(known, now) ? undefined : artifactExpired(known)),
  };
  const rateLimit = createRateLimit({ clock, ...(perMinute === undefined ? {} : { perMinute }) });
  const failing = { append: () => Promise.reject(new SignalboxError("STORE_UNAVAILABLE", "the log is full")) };
  const accessLog = options.logFails ? failing : createAccessLog({ log, clock, ids });
  const attempts = createAttempts({ accessLog, rateLimit });
  const rolesOf = () => Promise.resolve(roles);
  const access = createAccess({ shelf, attempts, rolesOf, clock });
  const keys = accessKeys(new Uint8Array(32).fill(7));

  async function events() {
    const found = [];
    for await (const { event } of log.read(subjects.all, 0n, (await log.bounds()).head)) found.push(event);
    return found;
  }

  async function findLink(tokenDigest: Uint8Array) {
    for (const { payload, workspaceId, stream } of await events()) {
      if (payload.case !== "artifactLinkCreated" || !equalBytes(payload.value.tokenDigest, tokenDigest)) continue;
      return { workspaceId, artifactId: stream?.id ?? "" };
    }
    return undefined;
  }

  async function record(artifactId: string, payload: EventPayload, workspaceId = "ws_a"): Promise<void> {
    const call = { ...callBy("user:alice"), workspaceId };
    const creation = payload.case === "artifactCreated" ? { creation: { roomId: "", repeatable: false } } : {};
    await aggregates.execute({ call, id: artifactId, ...creation, decide: () => ({ payload, zone: Zone.SANDBOX }) });
  }

  return {
    clock,
    keys,
    access,
    record,
    events,
    grants: createGrants({ aggregates, ids, clock }),
    links: createLinks({ aggregates, access, ids }),
    challenges: createChallenges({
      shelf,
      attempts,
      rateLimit,
      nonces: createMemoryNonces({ clock }),
      clock,
      keys,
      publicUrl,
    }),
    downloads: createDownloads({
      shelf,
      attempts,
      rolesOf,
      clock,
      urlKey: keys.url,
      rateLimit,
      findLink,
      catchUp: () => Promise.resolve(),
      openContents:
        options.openContents ??
        (async (_known, span = { from: 0, to: bytes.length }) => pieces(bytes.subarray(span.from, span.to))),
    }),
    /** Moves the clock. */
    pass: (ms: number) => clock.advanceTo(new Date(clock.now().getTime() + ms)),
    /** Records an artifact of alice's, kept for a week, and answers its id. */
    async artifact(
      changes: MessageInitShape<typeof ArtifactCreatedSchema> = {},
      workspaceId?: string,
    ): Promise<string> {
      const id = ids.next("art");
      const value = create(ArtifactCreatedSchema, {
        name: "report.txt",
        contentType: "text/plain",
        sizeBytes: BigInt(bytes.length),
        sha256: Buffer.from(sha256(bytes)).toString("hex"),
        purpose: ArtifactPurpose.FILE,
        createBy: principalOfName("user:alice"),
        expireTime: timestampFromDate(new Date(start.getTime() + 7 * 24 * 60 * minuteMs)),
        ...changes,
      });
      await record(id, { case: "artifactCreated", value }, workspaceId);
      return id;
    },
    /** The access log, oldest line first. */
    async lines(): Promise<ArtifactAccess[]> {
      return (await events()).flatMap(({ payload }) =>
        payload.case === "artifactAccessed" && payload.value.access !== undefined ? [payload.value.access] : [],
      );
    },
  };
}

/** Bytes in pieces of 100. */
async function* pieces(all: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < all.length; at += 100) yield await Promise.resolve(all.subarray(at, at + 100));
}
