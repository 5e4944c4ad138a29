import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import {
  GetSnapshotResponseSchema,
  type PipelineItem,
  PipelineItemSchema,
  PipelineStageKind,
} from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { boardView } from "../../src/cli/views/board-view.ts";
import { openFakeServer } from "./fake-server.ts";

const nowMs = Date.UTC(2026, 10, 21, 8);

function item(runId: string, changes: MessageInitShape<typeof PipelineItemSchema> = {}): PipelineItem {
  const updateTime = timestampFromMs(nowMs - 90_000);
  return create(PipelineItemSchema, { runId, handler: "echo", updateTime, ...changes });
}

function snapshot(position: bigint, items: Partial<Record<keyof typeof PipelineStageKind, PipelineItem[]>>) {
  const names = ["INBOX", "QUEUED", "RUNNING", "NEEDS_DECISION", "DONE", "FAILED"] as const;
  return create(GetSnapshotResponseSchema, {
    position,
    openIncidentCount: 1n,
    stages: names.map((name) => {
      const own = items[name] ?? [];
      return { kind: PipelineStageKind[name], count: BigInt(own.length) * 2n, items: own, truncated: own.length > 0 };
    }),
  });
}

test("a board has six columns, each run with what it needs, the end of its id and its age", () => {
  const failed = item("run_000000failed", { status: RunStatus.FAILED, endReason: RunEndReason.HANDLER_FAILED });
  const asking = item("run_000000asking", { handler: "mail", approvalIds: ["appr_1"] });
  const told = boardView(snapshot(9n, { NEEDS_DECISION: [asking], FAILED: [failed] }), 120, nowMs);
  const columns = told.split("\n").map((line) => line.match(/.{1,20}/g)?.map((cell) => cell.trim()) ?? []);
  expect(columns.slice(0, 5)).toEqual([
    ["INBOX 0", "QUEUED 0", "RUNNING 0", "NEEDS DECISION 2", "DONE 0", "FAILED 2"],
    Array(6).fill("-".repeat(18)),
    ["", "", "", "mail 1 to approve", "", "echo HANDLER_FAIL…"],
    ["", "", "", "…asking 1 min", "", "…failed 1 min"],
    ["", "", "", "… 1 more", "", "… 1 more"],
  ]);
  expect(told).toMatch(/\n\nposition 9, 1 incidents are open$/);
});

test("a board on a narrow terminal has its stages below each other, each run in a line that fits", () => {
  const asking = item("run_000000asking", { handler: "mail", approvalIds: ["appr_1"] });
  const long = item("run_0000000long", { handler: "a".repeat(60) });
  const told = boardView(snapshot(9n, { NEEDS_DECISION: [asking], DONE: [long] }), 40, nowMs);
  expect(told.split("\n")).toEqual([
    "INBOX 0",
    "QUEUED 0",
    "RUNNING 0",
    "NEEDS DECISION 2",
    "  …asking 1 min  mail 1 to approve",
    "  … 1 more",
    "DONE 2",
    `  …00long 1 min  ${"a".repeat(22)}…`,
    "  … 1 more",
    "FAILED 0",
    "",
    "position 9, 1 incidents are open",
  ]);
});

test("--watch draws once for all events that a picture shows", async () => {
  const asked: bigint[] = [];
  await using server = await openFakeServer({
    pipeline: {
      getSnapshot({ minPosition }) {
        asked.push(minPosition);
        return snapshot(minPosition === 0n ? 5n : 8n, { RUNNING: [item("run_1")] });
      },
    },
    events: {
      async *subscribe({ fromPosition }) {
        yield { frame: { case: "ready", value: { headPosition: 5n } } };
        for (const position of [6n, 7n, 8n]) {
          if (position > fromPosition) yield { frame: { case: "event", value: { position } } };
        }
      },
    },
  });
  const pictures = await server.list<{ position: string }>("board", "--watch");
  expect(pictures.map(({ position }) => position)).toEqual(["5", "8"]);
  expect(asked).toEqual([0n, 6n]);
});
