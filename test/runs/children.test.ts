import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/signalbox/v1/event_pb.ts";
import { RunCreatedSchema, RunSucceededSchema, RunSuspendedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import type { EventRecord } from "../../src/eventlog/record.ts";
import type { Db } from "../../src/readmodel/postgres.ts";
import { createChildren } from "../../src/runs/children.ts";
import { allEnded } from "../e2e/waiting.ts";
import { unknown } from "./scenario.ts";

/** Children over tables that have the open children and, behind a position, an end that nobody was told of. */
function setUp(open: readonly string[] = []) {
  const told: string[] = [];
  let looks = 0;
  const rows = (name: string) => {
    if (name === "runs_open_children") {
      return open.map((run_id) => ({ workspace_id: "ws", run_id, parent_run_id: "run_p", create_position: 1n }));
    }
    if (name === "runs_untold_ends") looks++;
    return [];
  };
  const children = createChildren({
    db: { query: async ({ name }: { name: string }) => ({ rows: rows(name) }) } as unknown as Db,
    command: async (_workspaceId, runId) => {
      told.push(runId);
      return unknown;
    },
    background: { start: (work) => void work() },
  });
  return { children, told, looks: () => looks };
}

function record(id: string, position: bigint, payload: EventPayload): EventRecord {
  return {
    position,
    event: create(EventSchema, { workspaceId: "ws", stream: { type: "run", id }, payload }),
  } as EventRecord;
}

const created = (id: string, parentRunId: string) =>
  record(id, 1n, { case: "runCreated", value: create(RunCreatedSchema, { parentRunId }) });
const succeeded = (id: string) => record(id, 2n, { case: "runSucceeded", value: create(RunSucceededSchema) });
const suspended = (id: string, position: bigint, ...on: string[]) =>
  record(id, position, { case: "runSuspended", value: create(RunSuspendedSchema, { conditions: [allEnded(...on)] }) });

test("a parent is told of the end of a child, and the children of a run that ends are ended", async () => {
  const { children, told } = setUp(["run_1"]);
  await children.start();
  children.take(created("run_2", "run_1"));
  children.take(succeeded("run_1"));
  expect(told).toEqual(["run_p", "run_2"]);
});

test("a child that is created when its parent has just ended is ended", () => {
  const { children, told } = setUp();
  children.take(succeeded("run_p"));
  children.take(created("run_1", "run_p"));
  expect(told).toEqual(["run_1"]);
});

test("a run that begins to wait for a child that ended unheard is looked up, once the tables show that it waits", async () => {
  const { children, looks } = setUp(["run_1"]);
  await children.start();
  await children.sweep(0n);
  expect(looks()).toBe(1);
  children.take(suspended("run_p", 9n, "run_1"));
  await children.sweep(9n);
  expect(looks()).toBe(1);
  children.take(suspended("run_p", 10n, "run_1", "run_missed"));
  await children.sweep(9n);
  await children.sweep(10n);
  expect(looks()).toBe(3);
  await children.sweep(11n);
  expect(looks()).toBe(3);
});

test("now and then everything is looked up without a reason", async () => {
  const { children, looks } = setUp();
  for (let sweeps = 0; sweeps < 36; sweeps++) await children.sweep(0n);
  expect(looks()).toBe(4);
});
