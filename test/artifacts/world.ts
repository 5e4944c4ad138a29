import { createHash, randomBytes } from "node:crypto";
import { clone, create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import {
  ArtifactPurpose,
  ArtifactSchema,
  type ArtifactSpec,
  ArtifactSpecSchema,
  ArtifactStatus,
} from "../../gen/signalbox/v1/artifact_pb.ts";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import type { Admitted, ArtifactAdmission, Recorded } from "../../src/artifacts/admission.ts";
import { createContents, type Damage } from "../../src/artifacts/contents.ts";
import { createMemorySessionStore } from "../../src/artifacts/memory-session-store.ts";
import type { SessionStore } from "../../src/artifacts/session-store.ts";
import type { ArtifactState, KnownArtifact } from "../../src/artifacts/state.ts";
import { createUploads } from "../../src/artifacts/uploads.ts";
import { createMemoryBlobs } from "../../src/blobs/memory.ts";
import type { BlobStore } from "../../src/blobs/blob-store.ts";
import type { KeyLookup, KeyRing } from "../../src/keys/key-ring.ts";
import type { Call } from "../../src/kernel/call.ts";
import { requestDigest } from "../../src/kernel/digest.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { derivedId, randomIds } from "../../src/kernel/ids.ts";

/** Everything that outlives a process. */
export interface Durable {
  readonly blobs: BlobStore;
  readonly keys: KeyRing;
  readonly sessions: SessionStore;
  readonly admission: ArtifactAdmission & { load(workspaceId: string, artifactId: string): Promise<ArtifactState> };
}

/** A clock that stands until it is set. */
export interface SetClock {
  time: Date;
  now(): Date;
}

/** What the fake of the admission allows. */
export interface Allowance {
  maxBytes: number;
  /** How many bytes the workspace has left. */
  workspaceBytes: number;
  /** Thrown by `record`; undefined for none. */
  refusal: SignalboxError | undefined;
}

/** One installation, without servers yet. */
export interface World extends Durable {
  readonly clock: SetClock;
  readonly allowance: Allowance;
  readonly damages: Damage[];
  /** A server on what is durable; `durable` stands in for parts of it. */
  server(durable?: Partial<Durable>): Server;
  known(artifactId: string, workspaceId?: string): Promise<KnownArtifact>;
  blobNames(): Promise<string[]>;
}

/** What a process has. */
export type Server = ReturnType<typeof createServer>;

function createServer(world: World, durable: Durable) {
  const { allowance, clock, damages } = world;
  const alarm = (damage: Damage) => void damages.push(damage);
  const { blobs, keys, sessions, admission } = durable;
  const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  const load = (workspaceId: string, artifactId: string) => admission.load(workspaceId, artifactId);
  const usage = { leftBytes: async () => allowance.workspaceBytes };
  return {
    uploads: createUploads({ admission, load, blobs, keys, sessions, usage, alarm, clock, log }),
    contents: createContents({ blobs, keys, alarm, clock }),
  };
}

/** An installation in memory; the stores may be others. */
export function createWorld(stores: Partial<Pick<Durable, "blobs" | "sessions">> = {}): World {
  const time = new Date("2026-05-01T12:00:00Z");
  const clock: SetClock = { time, now: () => clock.time };
  const allowance: Allowance = { maxBytes: 8 * 1024 * 1024, workspaceBytes: 100 * 1024 ** 3, refusal: undefined };
  const durable: Durable = {
    blobs: stores.blobs ?? createMemoryBlobs(clock),
    keys: createKeys(),
    sessions: stores.sessions ?? createMemorySessionStore(),
    admission: createAdmission(allowance, clock),
  };
  const world: World = {
    ...durable,
    clock,
    allowance,
    damages: [],
    server: (others = {}) => createServer(world, { ...durable, ...others }),
    async known(artifactId, workspaceId = "ws_one") {
      const state = await durable.admission.load(workspaceId, artifactId);
      if (state.status === "absent") throw new Error(`${artifactId} is not on record`);
      return state;
    },
    blobNames: async () => (await Array.fromAsync(durable.blobs.list())).map(({ name }) => name).toSorted(),
  };
  return world;
}

/** A call of a workspace. */
export function callIn(workspaceId = "ws_one", signal = new AbortController().signal): Call {
  const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "alice" });
  return { workspaceId, principal, correlationId: "corr_1", traceparent: "", signal };
}

/** A spec with what matters. */
export function specOf(fields: Partial<ArtifactSpec> = {}): ArtifactSpec {
  return Object.assign(create(ArtifactSpecSchema, { name: "report.txt" }), fields);
}

/** SHA-256 in hex. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes in pieces of a size. */
export async function* pieces(bytes: Uint8Array, size = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** All pieces as one. */
export async function gather(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(bytes));
}

/** Everything on record is whole. Returns how many artifacts there are. */
export async function requireAllReadable(world: World, artifactIds: readonly string[]): Promise<number> {
  let count = 0;
  for (const artifactId of artifactIds) {
    const state = await world.admission.load("ws_one", artifactId);
    if (state.status === "absent") continue;
    count++;
    if (state.artifact.encryption?.recipient) await gather((await world.server().contents.openSealed(state)).bytes);
    else await gather(await world.server().contents.open(state));
  }
  return count;
}

/** Records in memory, with the rules of admission.ts. */
function createAdmission(allowance: Allowance, clock: SetClock): Durable["admission"] {
  const records = new Map<string, KnownArtifact>();
  const keyOf = (workspaceId: string, artifactId: string) => `${workspaceId}/${artifactId}`;

  function record(
    { workspaceId, principal }: Call,
    admitted: Admitted,
    stored: Parameters<ArtifactAdmission["record"]>[2],
  ) {
    const { artifactId, spec } = admitted;
    const artifact = create(ArtifactSchema, {
      artifactId,
      workspaceId,
      name: spec.name,
      sizeBytes: BigInt(stored.sizeBytes),
      sha256: stored.sha256,
      purpose: ArtifactPurpose.FILE,
      encryption: stored.encryption,
      status: ArtifactStatus.AVAILABLE,
      createBy: principal,
      expireTime: timestampFromDate(admitted.expireTime),
      position: BigInt(records.size + 1),
    });
    const known: KnownArtifact = {
      status: "available",
      artifact,
      parts: stored.parts,
      grants: [],
      links: [],
      requestDigest: admitted.requestDigest,
      zone: Zone.UNSPECIFIED,
    };
    records.set(keyOf(workspaceId, artifactId), known);
    return known;
  }

  return {
    load: async (workspaceId, artifactId) => records.get(keyOf(workspaceId, artifactId)) ?? { status: "absent" },
    async admit(call, spec, requestId, given) {
      const id = requestId === "" ? randomIds.next("art") : derivedId("art", call.workspaceId, requestId);
      const artifactId = given ?? id;
      const unleased = Object.assign(clone(ArtifactSpecSchema, spec), { leaseToken: "" });
      const digest = requestId === "" ? new Uint8Array() : requestDigest(ArtifactSpecSchema, unleased);
      const existing = records.get(keyOf(call.workspaceId, artifactId));
      if (existing !== undefined && !Buffer.from(digest).equals(existing.requestDigest)) throw reused();
      const { maxBytes } = allowance;
      const limitError = (actual: number) =>
        new SignalboxError("PAYLOAD_TOO_LARGE", `${actual} bytes, the limit is ${maxBytes}`, {
          limit: String(maxBytes),
        });
      if (existing === undefined && Number(spec.sizeBytes ?? 0n) > maxBytes) throw limitError(Number(spec.sizeBytes));
      return {
        artifactId,
        spec,
        existing,
        requestDigest: digest,
        place: undefined,
        runId: "",
        roomId: "",
        stepId: "",
        leaseId: spec.leaseToken,
        createBy: call.principal,
        expireTime: new Date(clock.now().getTime() + 7 * 86_400_000),
        maxBytes,
        limitError,
      };
    },
    async record(call, admitted, stored): Promise<Recorded> {
      if (allowance.refusal !== undefined) throw allowance.refusal;
      const existing = records.get(keyOf(call.workspaceId, admitted.artifactId));
      if (existing !== undefined && existing.artifact.sha256 !== stored.sha256) throw reused();
      const { artifact, parts } = existing ?? record(call, admitted, stored);
      return { artifact, parts, position: artifact.position };
    },
  };
}

function reused(): SignalboxError {
  return new SignalboxError("REQUEST_ID_REUSED", "this request_id stands for another request");
}

/** Keys in memory, with the rules of key-ring.ts. */
function createKeys(): KeyRing {
  const found = new Map<string, KeyLookup & { wrap?: string }>();
  const keyOf = (workspaceId: string, artifactId: string) => `${workspaceId}/${artifactId}`;
  return {
    async issue(workspaceId, artifactId, recipient) {
      const key = keyOf(workspaceId, artifactId);
      const known = found.get(key);
      if (known?.state === "open") return known;
      if (known?.state === "sealed")
        throw new SignalboxError("INVALID_STATE", `the key of ${artifactId} is given away`);
      const fresh = { state: "open", key: randomBytes(32), keyId: recipient === undefined ? "key_1" : "" } as const;
      found.set(key, { ...fresh, ...(recipient === undefined ? {} : { wrap: recipient }) });
      return fresh;
    },
    async seal(workspaceId, artifactId) {
      const key = keyOf(workspaceId, artifactId);
      const known = found.get(key);
      if (known?.state !== "open" || known.wrap === undefined) return;
      found.set(key, { state: "sealed", recipient: known.wrap, wrappedKey: known.key });
    },
    open: async (workspaceId, artifactId) => found.get(keyOf(workspaceId, artifactId)) ?? { state: "missing" },
    destroy: async (workspaceId, artifactId) => void found.set(keyOf(workspaceId, artifactId), { state: "destroyed" }),
    async *list() {},
  };
}
