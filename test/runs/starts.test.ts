import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { PrincipalSchema, PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { CreateRunRequestSchema } from "../../gen/signalbox/v1/run_service_pb.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createStarts } from "../../src/runs/starts.ts";
import { runAggregate } from "../../src/runs/state.ts";

const principal = create(PrincipalSchema, { type: PrincipalType.USER, id: "alice" });
const signal = new AbortController().signal;
const call = { workspaceId: "ws_test", principal, correlationId: "corr", traceparent: "", signal };

test.each([
  [Zone.HIGH_STAKES, Zone.UNSPECIFIED, Zone.HIGH_STAKES],
  [Zone.HIGH_STAKES, Zone.SANDBOX, Zone.HIGH_STAKES],
  [Zone.SUPERVISED, Zone.HIGH_STAKES, Zone.HIGH_STAKES],
  [Zone.SANDBOX, Zone.SUPERVISED, Zone.SUPERVISED],
  [Zone.UNSPECIFIED, Zone.UNSPECIFIED, Zone.SANDBOX],
])(
  "a child of a run in zone %i that asks for zone %i is in zone %i: never in a laxer one",
  async (own, wanted, got) => {
    const log = createEventLog(createMemoryStore(), createSubjects());
    const aggregates = createAggregates(runAggregate, { log, clock, ids });
    const limits = { maxInputBytes: 1_000, maxOutputBytes: 1_000 };
    const starts = createStarts({ aggregates, ids, limits, findAgent: async () => undefined });
    const start = (zone: Zone, parentRunId = "") =>
      starts.create(call, create(CreateRunRequestSchema, { handler: "echo", zone, parentRunId }));
    const { run: parent } = await start(own);
    expect((await start(wanted, parent.runId)).run.zone).toBe(got);
  },
);
