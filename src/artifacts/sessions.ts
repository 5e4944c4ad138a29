import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { type ArtifactSpec, ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { SessionEntry, SessionStore } from "./session-store.ts";

/** An upload in chunks that is under way. */
export interface UploadSession {
  readonly workspaceId: string;
  /** The id of the artifact that it becomes. */
  readonly uploadId: string;
  /** Random. Sets its chunks apart from those of an earlier upload of the same id that was given up. */
  readonly nonce: string;
  readonly requestId: string;
  /** The name of who goes on with it: nobody else may, or its bytes would be theirs in the end. */
  readonly beginBy: string;
  /** SHA-256 of the request that began it, as admission says. */
  readonly requestDigest: Uint8Array;
  readonly spec: ArtifactSpec;
  readonly sizeBytes: number;
  readonly expireTime: Date;
}

/** A chunk that is durable. */
export interface StoredPart {
  readonly blob: string;
  /** Bytes, unsealed. */
  readonly sizeBytes: number;
  /** Of the bytes unsealed, in hex. */
  readonly sha256: string;
}

/** The uploads of a workspace that were begun and not finished. */
export interface OpenUploads {
  readonly count: number;
  /** What they were announced with, together. */
  readonly sizeBytes: number;
}

/** All bytes of an artifact, durable and looked through. */
export interface StoredWhole {
  /** In order. */
  readonly parts: readonly Omit<StoredPart, "sha256">[];
  readonly sizeBytes: number;
  /** Of all bytes unsealed, in hex. */
  readonly sha256: string;
}

/** Uploads under way, the same on every server. STORE_UNAVAILABLE. */
export interface Sessions {
  /** The upload of an id as it was begun, whatever its expire time says. */
  find(workspaceId: string, uploadId: string): Promise<UploadSession | undefined>;
  /** Remembers an upload in place of `before`; false when somebody else was faster. */
  put(session: UploadSession, before: UploadSession | undefined): Promise<boolean>;
  /** What a workspace has under way. */
  open(workspaceId: string): Promise<OpenUploads>;
  /** Remembers a chunk unless that index has one. Returns the one that it has. */
  putPart(session: UploadSession, index: number, part: StoredPart): Promise<StoredPart>;
  /** The chunk of an index. */
  part(session: UploadSession, index: number): Promise<StoredPart | undefined>;
  /** The chunks in order, undefined for those that have not come. */
  parts(session: UploadSession, count: number): Promise<(StoredPart | undefined)[]>;
  /** Forgets a chunk, unless another one came in its place. */
  dropPart(session: UploadSession, index: number, part: StoredPart): Promise<void>;
  /**
   * Remembers what an artifact will be made of, unless that is known already. Returns what is known. For an artifact whose key
   * is given away before it is recorded: nobody could look through its bytes again. The nonce is that of its session, empty
   * without one.
   */
  putWhole(workspaceId: string, artifactId: string, nonce: string, whole: StoredWhole): Promise<StoredWhole>;
  /** What an artifact will be made of, if that is known. */
  whole(workspaceId: string, artifactId: string, nonce: string): Promise<StoredWhole | undefined>;
  /** Forgets an upload and its chunks. */
  end(session: UploadSession, count: number): Promise<void>;
}

/** Requests to the store that are under way at the same time. */
const concurrency = 32;

/** Remembers uploads in the store. */
export function createSessions(store: SessionStore): Sessions {
  async function putOnce<T>(key: string, value: T): Promise<T> {
    const bytes = encode(value);
    // What was read may be forgotten before it is read again, so that the place is free.
    for (;;) {
      if (await store.create(key, bytes)) return value;
      const found = decode(await store.get(key)) as T | undefined;
      if (found !== undefined) return found;
    }
  }

  async function part(session: UploadSession, index: number): Promise<StoredPart | undefined> {
    return decode(await store.get(partKey(session, index))) as StoredPart | undefined;
  }

  return {
    async find(workspaceId, uploadId) {
      return decodeSession(await store.get(sessionKey(workspaceId, uploadId)));
    },
    async put(session, before) {
      const key = sessionKey(session.workspaceId, session.uploadId);
      const entry = before && (await store.get(key));
      if (entry === undefined) {
        // Counted first: what is counted and not there is forgotten in its time, what is there and not counted would be free.
        await store.create(openKey(session), new Uint8Array());
        return store.create(key, encodeSession(session));
      }
      if (decodeSession(entry)?.nonce !== before?.nonce) return false;
      return store.replace(key, encodeSession(session), entry.revision);
    },
    async open(workspaceId) {
      const keys = await store.keys(`open.${workspaceId}`);
      return { count: keys.length, sizeBytes: keys.reduce((sum, key) => sum + Number(key.split(".").at(-1)), 0) };
    },
    putPart: (session, index, value) => putOnce(partKey(session, index), value),
    part,
    parts: (session, count) => eachIndex(count, (index) => part(session, index)),
    async dropPart(session, index, { blob }) {
      const key = partKey(session, index);
      const entry = await store.get(key);
      if ((decode(entry) as StoredPart | undefined)?.blob === blob) await store.remove(key, entry?.revision);
    },
    putWhole: (workspaceId, artifactId, nonce, whole) => putOnce(wholeKey(workspaceId, artifactId, nonce), whole),
    whole: async (workspaceId, artifactId, nonce) =>
      decode(await store.get(wholeKey(workspaceId, artifactId, nonce))) as StoredWhole | undefined,
    async end(session, count) {
      await eachIndex(count, (index) => store.remove(partKey(session, index)));
      await store.remove(sessionKey(session.workspaceId, session.uploadId));
      await store.remove(openKey(session));
    },
  };
}

function sessionKey(workspaceId: string, uploadId: string): string {
  return `session.${workspaceId}.${uploadId}`;
}

/** Its size is in the key, so that adding up takes no values. */
function openKey({ workspaceId, uploadId, sizeBytes }: UploadSession): string {
  return `open.${workspaceId}.${uploadId}.${sizeBytes}`;
}

function partKey({ workspaceId, uploadId, nonce }: UploadSession, index: number): string {
  return `part.${workspaceId}.${uploadId}.${nonce}.${index}`;
}

function wholeKey(workspaceId: string, artifactId: string, nonce: string): string {
  return `whole.${workspaceId}.${artifactId}.${nonce || "_"}`;
}

/** What `ask` answers for 0 up to, not including, `count`, in order. */
async function eachIndex<T>(count: number, ask: (index: number) => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  for (let from = 0; from < count; from += concurrency) {
    const batch = Array.from({ length: Math.min(concurrency, count - from) }, (_, i) => ask(from + i));
    answers.push(...(await Promise.all(batch)));
  }
  return answers;
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Only this file writes what it reads here. */
function decode(entry: SessionEntry | undefined): unknown {
  return entry === undefined ? undefined : JSON.parse(new TextDecoder().decode(entry.value));
}

interface SessionJson extends Omit<UploadSession, "spec" | "requestDigest" | "expireTime"> {
  readonly spec: JsonValue;
  readonly requestDigest: string;
  readonly expireTime: string;
}

function encodeSession(session: UploadSession): Uint8Array {
  const json: SessionJson = {
    ...session,
    spec: toJson(ArtifactSpecSchema, session.spec),
    requestDigest: Buffer.from(session.requestDigest).toString("base64"),
    expireTime: session.expireTime.toISOString(),
  };
  return encode(json);
}

function decodeSession(entry: SessionEntry | undefined): UploadSession | undefined {
  const json = decode(entry) as SessionJson | undefined;
  if (json === undefined) return undefined;
  return {
    ...json,
    spec: fromJson(ArtifactSpecSchema, json.spec),
    requestDigest: Buffer.from(json.requestDigest, "base64"),
    expireTime: new Date(json.expireTime),
  };
}
