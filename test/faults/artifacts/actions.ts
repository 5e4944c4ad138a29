import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { ArtifactSpecSchema } from "../../../gen/signalbox/v1/artifact_pb.ts";
import {
  CreateUploadRequestSchema,
  DeleteArtifactRequestSchema,
  FinishUploadRequestSchema,
  RestoreArtifactRequestSchema,
  SetLegalHoldRequestSchema,
  UploadChunkRequestSchema,
  UploadHeaderSchema,
} from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import { derivedId } from "../../../src/kernel/ids.ts";
import type { Seeded } from "../../support/seeded.ts";
import { type ArtifactWorld, callIn, endRun, type Process } from "./world.ts";

/** A request for an upload, that many may make. */
export interface Request {
  readonly requestId: string;
  readonly bytes: Buffer;
  readonly runId: string;
  readonly inChunks: boolean;
}

/** A program under way. */
export interface Program {
  readonly world: ArtifactWorld;
  readonly random: Seeded;
  readonly requests: readonly Request[];
  readonly runIds: readonly string[];
  /** Bytes of what clients were told is stored, by artifact. */
  readonly told: Map<string, Buffer>;
  readonly problems: string[];
  readonly counts: Map<string, number>;
}

/** Something that somebody does, by a server. Its name is what is counted. */
export interface Action {
  readonly name: string;
  readonly by: (server: Process) => Promise<unknown>;
}

/** A kind of action, of which each program makes its own. */
interface NamedAction {
  readonly kind: string;
  readonly of: (program: Program) => Action;
}

/** The workspace of every program. */
export const workspaceId = "ws_program";
const mebibyte = 1024 * 1024;

/** The more often an action stands here, the more of it there is. */
export const actions: readonly NamedAction[] = [
  { kind: "upload", of: (program) => upload(program, program.random.pick(program.requests)) },
  { kind: "upload", of: (program) => upload(program, program.random.pick(program.requests)) },
  { kind: "upload", of: (program) => upload(program, program.random.pick(program.requests)) },
  { kind: "upload", of: (program) => upload(program, { ...program.random.pick(program.requests), requestId: "" }) },
  // The same request_id for another run, or for none.
  {
    kind: "upload",
    of: (program) =>
      upload(program, { ...program.random.pick(program.requests), runId: program.random.pick(program.runIds) }),
  },
  // Other bytes under the same request_id.
  {
    kind: "reuse",
    of: (program) => upload(program, { ...program.random.pick(program.requests), bytes: bytesOf(20, 99) }),
  },
  { kind: "read", of: read },
  { kind: "remove", of: remove },
  { kind: "remove", of: remove },
  { kind: "restore", of: restore },
  { kind: "hold", of: hold },
  { kind: "sweep", of: ({ world }) => ({ name: "sweep", by: (server) => sweepDue(world, server) }) },
  { kind: "sweep orphans", of: ({ world }) => ({ name: "sweep of orphans", by: (server) => sweepAll(world, server) }) },
  { kind: "rotate", of: () => ({ name: "rotate", by: ({ care }) => care.rotateWorkspace(workspaceId) }) },
  { kind: "end run", of: end },
];

/** An upload as somebody asks for it. */
export function upload(program: Program, request: Request): Action {
  const { random, told } = program;
  const isOneChunk = request.bytes.length <= mebibyte;
  const order = random.oneIn(2) || isOneChunk ? [0, 1] : [1, 0];
  const plan = { order, twice: random.oneIn(3), finishes: !random.oneIn(6) };
  return {
    name: request.inChunks ? "upload in chunks" : "upload",
    async by({ uploads }) {
      const artifact = request.inChunks
        ? await uploadChunks(uploads, request, plan)
        : await uploadStream(uploads, request);
      if (artifact !== undefined) told.set(artifact.artifactId, request.bytes);
    },
  };
}

async function uploadStream(uploads: Process["uploads"], { requestId, runId, bytes }: Request) {
  const spec = create(ArtifactSpecSchema, { name: "report.txt", runId });
  const header = create(UploadHeaderSchema, { requestId, spec });
  return (await uploads.upload(callIn(workspaceId), header, halves(bytes))).artifact;
}

async function uploadChunks(
  uploads: Process["uploads"],
  { requestId, runId, bytes }: Request,
  { order, twice, finishes }: { order: readonly number[]; twice: boolean; finishes: boolean },
) {
  const call = callIn(workspaceId);
  const spec = create(ArtifactSpecSchema, { name: "report.txt", runId, sizeBytes: BigInt(bytes.length) });
  const { uploadId, chunkCount } = await uploads.begin(call, create(CreateUploadRequestSchema, { requestId, spec }));
  const send = (index: number) => {
    const data = bytes.subarray(index * mebibyte, (index + 1) * mebibyte);
    return uploads.chunk(call, create(UploadChunkRequestSchema, { uploadId, index, data }));
  };
  const indexes = order.filter((index) => index < chunkCount);
  await Promise.all((twice ? [...indexes, ...indexes] : indexes).map(send));
  if (!finishes) return undefined;
  return (await uploads.finish(call, create(FinishUploadRequestSchema, { uploadId }))).artifact;
}

async function* halves(bytes: Buffer): AsyncGenerator<Uint8Array> {
  const middle = Math.floor(bytes.length / 2);
  yield bytes.subarray(0, middle);
  yield bytes.subarray(middle);
}

/** Some artifact that somebody knows of; an unknown one when there is none. */
function anyArtifact({ random, told }: Program): string {
  return random.pick([...told.keys(), derivedId("art", workspaceId, "artifact", "", "r0")]);
}

function read(program: Program): Action {
  const artifactId = anyArtifact(program);
  return {
    name: "read",
    async by({ load, contents }) {
      const known = await load(workspaceId, artifactId);
      const bytes = program.told.get(artifactId);
      if (known.status === "absent" || bytes === undefined) return;
      const found = Buffer.concat(await Array.fromAsync(await contents.open(known)));
      if (!found.equals(bytes)) program.problems.push(`${artifactId}: other bytes come out than went in`);
    },
  };
}

function remove(program: Program): Action {
  const request = create(DeleteArtifactRequestSchema, {
    artifactId: anyArtifact(program),
    permanent: program.random.oneIn(2),
  });
  const name = request.permanent ? "delete for ever" : "delete";
  return { name, by: ({ artifacts }) => artifacts.delete(callIn(workspaceId), request) };
}

function restore(program: Program): Action {
  const request = create(RestoreArtifactRequestSchema, { artifactId: anyArtifact(program) });
  return { name: "restore", by: ({ artifacts }) => artifacts.restore(callIn(workspaceId), request) };
}

function hold(program: Program): Action {
  const held = program.random.oneIn(2);
  const request = create(SetLegalHoldRequestSchema, { artifactId: anyArtifact(program), held, reason: "case 12" });
  const name = held ? "hold" : "release";
  return { name, by: ({ artifacts }) => artifacts.setLegalHold(callIn(workspaceId), request) };
}

function end({ random, runIds }: Program): Action {
  const runId = random.pick(runIds.slice(1));
  return { name: "end run", by: (server) => endRun(server, callIn(workspaceId), runId) };
}

async function sweepAll({ tables }: ArtifactWorld, { sweepOrphans }: Process): Promise<void> {
  tables.catchUp();
  await sweepOrphans();
}

/** Everything that becomes of artifacts by itself, orphans apart. */
export async function sweepDue({ tables }: ArtifactWorld, { sweeps }: Process): Promise<void> {
  const { signal } = callIn(workspaceId);
  for (const each of [sweeps.heal, sweeps.expire, sweeps.purge]) {
    tables.catchUp();
    await each(signal);
  }
}

/** Some bytes, the same for the same seed. */
export function bytesOf(size: number, seed: number): Buffer {
  return Buffer.alloc(size, createHash("sha256").update(String(seed)).digest());
}
