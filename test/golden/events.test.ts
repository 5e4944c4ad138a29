import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import {
  create,
  createRegistry,
  type DescFile,
  fromBinary,
  fromJson,
  isMessage,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { describe, expect, test } from "vitest";
import { type Event, EventSchema, file_signalbox_v1_event } from "../../gen/signalbox/v1/event_pb.ts";
import { RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { eventTypes } from "../../src/eventlog/event-type.ts";
import { encodeBody } from "../../src/eventlog/record.ts";
import { evolveRunState, runAggregate, type RunState } from "../../src/runs/state.ts";
import { samples } from "./samples.ts";

/** One event of one type, as people read it and as the log stores it. */
interface Golden {
  readonly event: JsonValue;
  /** The stored bytes in base64. */
  readonly body: string;
}

const folder = join(import.meta.dirname, "events");

/** The file of a type's n-th form: a type whose payload has got new fields has another file, beside the one that it had. */
const pathOf = (type: string, form: number) => join(folder, form === 1 ? `${type}.json` : `${type}.${form}.json`);

/** How many forms of a type there are. */
function formsOf(type: string): number {
  let form = 0;
  while (existsSync(pathOf(type, form + 1))) form++;
  return form;
}

async function readGolden(file: string): Promise<Golden> {
  return JSON.parse(await readFile(join(folder, file), "utf8")) as Golden;
}

async function newestGolden({ type }: Event): Promise<Golden | undefined> {
  const forms = formsOf(type);
  return forms === 0 ? undefined : readGolden(basename(pathOf(type, forms)));
}

// A new event type, or new fields of a type, get their file with GOLDEN=write. A file that is there is never written again.
if (process.env["GOLDEN"] === "write") {
  for (const sample of samples) {
    const golden = { event: toJson(EventSchema, sample), body: Buffer.from(encodeBody(sample)).toString("base64") };
    if ((await newestGolden(sample))?.body === golden.body) continue;
    await writeFile(pathOf(sample.type, formsOf(sample.type) + 1), `${JSON.stringify(golden, undefined, 2)}\n`);
  }
}

const files = (await readdir(folder)).toSorted();

/** How a run stands after the events that end it. */
const ends: Readonly<Record<string, RunState["status"]>> = {
  "run.succeeded": "succeeded",
  "run.failed": "failed",
  "run.canceled": "canceled",
};

test("every event type has its file, and no file is without a type", () => {
  const expected = Object.values(eventTypes).flatMap((type) =>
    Array.from({ length: Math.max(formsOf(type), 1) }, (_, index) => basename(pathOf(type, index + 1))),
  );
  expect(files).toEqual(expected.toSorted());
});

test.each(samples.map((sample) => ({ type: sample.type, sample })))(
  "the newest file of $type has every field that its payload has today",
  async ({ sample }) => {
    expect((await newestGolden(sample))?.event).toEqual(toJson(EventSchema, sample));
  },
);

describe.each(files)("%s", (file) => {
  test("the stored bytes are decoded to the event", async () => {
    const { event, body } = await readGolden(file);
    expect(toJson(EventSchema, fromBinary(EventSchema, Buffer.from(body, "base64")))).toEqual(event);
  });

  test("the event is encoded to the stored bytes", async () => {
    const { event, body } = await readGolden(file);
    expect(Buffer.from(encodeBody(fromJson(EventSchema, event))).toString("base64")).toBe(body);
  });

  test("encoding what was decoded gives the very bytes back", async () => {
    const { body } = await readGolden(file);
    expect(Buffer.from(encodeBody(fromBinary(EventSchema, Buffer.from(body, "base64")))).toString("base64")).toBe(body);
  });
});

test("runs that an older program wrote are folded by this one", async () => {
  const tell = async (state: RunState, type: string, sequence: number) => {
    const { body } = await readGolden(`${type}.json`);
    const event = fromBinary(EventSchema, Buffer.from(body, "base64"));
    return evolveRunState(state, { ...event, position: BigInt(sequence) });
  };
  const life = ["run.created", "run.claimed", "step.started", "step.completed", "tool_call.started", "tool_call.failed"];
  for (const end of ["run.released", "run.attempt_failed", "run.lease_expired", "run.succeeded", "run.failed", "run.canceled"]) {
    let state = runAggregate.initial;
    for (const [index, type] of [...life, end].entries()) state = await tell(state, type, index + 1);
    if (state.status === "absent") throw new Error(`${end} has made nothing of the run`);
    expect(state.status).toBe(ends[end] ?? "queued");
    expect(state.steps.size).toBe(1);
    expect(state.toolCalls.size).toBe(1);
    expect(state.requeuePosition).toBe(0n);
    // What a list shows of it can be written.
    expect(toBinary(RunSchema, state.run).length).toBeGreaterThan(0);
  }
});

test("what a newer program writes is kept by this one", async () => {
  const { body } = await readGolden("run.created.json");
  // Field 1000, a string.
  const newer = Buffer.concat([Buffer.from(body, "base64"), Buffer.from([0xc2, 0x3e, 0x02, 0x68, 0x69])]);
  expect(Buffer.from(encodeBody(fromBinary(EventSchema, newer)))).toEqual(newer);
});

test("every field of every payload is set in its sample, so that none is left out of the files", () => {
  const known: Record<string, string[]> = {
    // Output only: never part of an event.
    "signalbox.v1.Agent": ["agent_id", "workspace_id", "etag", "create_time", "update_time", "create_by", "position"],
    "signalbox.v1.Queue": ["workspace_id", "etag", "update_time", "queued_runs", "running_runs", "position"],
    "signalbox.v1.Schedule": [
      "schedule_id",
      "workspace_id",
      "last_time",
      "last_run_id",
      "last_error",
      "etag",
      "create_time",
      "update_time",
      "create_by",
      "position",
    ],
    "signalbox.v1.Document": ["workspace_id", "create_time", "create_by", "position"],
    "signalbox.v1.Policy": ["workspace_id", "etag", "update_time", "update_by", "position"],
    "signalbox.v1.Suite": [
      "suite_id",
      "workspace_id",
      "status",
      "etag",
      "create_time",
      "update_time",
      "create_by",
      "update_by",
      "position",
    ],
    // One of them is set.
    "signalbox.v1.Grantee": ["principal", "ed25519_public_key", "ethereum_address"],
    // What the event says itself.
    "signalbox.v1.ArtifactAccess": ["access_id", "create_time", "position"],
    // It stands beside the decision.
    "signalbox.v1.PolicyContext": ["payload"],
    // Those who are named without a chain: members of rooms.
    "signalbox.v1.Principal": ["on_behalf_of"],
    // Counted by the server, never reported.
    "signalbox.v1.Usage": ["tool_calls", "steps"],
    // A request as its sender wrote it; what it may say is held by the contract, not by the log.
    "signalbox.v1.CreateRunRequest": CreateRunRequestSchema.fields.map(({ name }) => name),
  };
  const unset = samples.flatMap(({ type, payload }) => unsetFields(payload.value!).map((field) => `${type}: ${field}`));
  const allowed = new Set(Object.entries(known).flatMap(([name, fields]) => fields.map((field) => `${name}.${field}`)));
  expect(unset.filter((field) => !allowed.has(field.split(": ")[1]!))).toEqual([]);
});

const registry = createRegistry(...filesUnder(file_signalbox_v1_event));

/** A proto file and all that it imports. */
function filesUnder(file: DescFile): DescFile[] {
  return [file, ...file.dependencies.flatMap(filesUnder)];
}

/** The fields without a value in a message of ours and in those inside it. */
function unsetFields(message: Message): string[] {
  const desc = registry.getMessage(message.$typeName);
  if (desc === undefined || !message.$typeName.startsWith("signalbox.")) return [];
  const reflected = reflect(desc, message);
  return reflected.fields.flatMap((field) => {
    if (!reflected.isSet(field)) return [`${message.$typeName}.${field.name}`];
    if (field.fieldKind !== "message") return [];
    const inner: unknown = reflected.get(field).message;
    return isMessage(inner) ? unsetFields(inner) : [];
  });
}

const run = promisify(execFile);
const git = async (...args: string[]) => (await run("git", args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
const released = await git("tag", "--list", "v*", "--sort=-version:refname").then(
  (tags) => tags.split("\n")[0] ?? "",
  () => "",
);

// Before the first release, and outside of a checkout, there is nothing that must not change.
test.skipIf(released === "")("no file changes after its release", async () => {
  const names = (await git("ls-tree", "--name-only", released, "test/golden/events/")).split("\n").filter(Boolean);
  for (const name of names) {
    const present = await readFile(join(import.meta.dirname, "../..", name), "utf8");
    expect({ name, text: present }).toEqual({ name, text: await git("show", `${released}:${name}`) });
  }
});

test("an empty event has no bytes", () => {
  expect(encodeBody(create(EventSchema))).toHaveLength(0);
});
