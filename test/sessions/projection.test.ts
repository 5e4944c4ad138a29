import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RunCreatedSchema } from "../../gen/signalbox/v1/run_event_pb.ts";
import { SessionCompactedSchema } from "../../gen/signalbox/v1/session_event_pb.ts";
import { createEventLog } from "../../src/eventlog/event-log.ts";
import type { EventPayload } from "../../src/eventlog/event-type.ts";
import { createMemoryStore } from "../../src/eventlog/memory-store.ts";
import { createSubjects } from "../../src/eventlog/subjects.ts";
import { readPage } from "../../src/readmodel/page.ts";
import { listSessionRuns, sessionRunPositions } from "../../src/runs/queries.ts";
import { findSession, listSessions } from "../../src/sessions/queries.ts";
import { foldInMemory, project, readTables } from "../readmodel/tables.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend } from "../support/backend.ts";

const created = (sessionId: string): EventPayload => ({
  case: "runCreated",
  value: create(RunCreatedSchema, { handler: "echo", sessionId }),
});
const compacted: EventPayload = {
  case: "sessionCompacted",
  value: create(SessionCompactedSchema, { summary: "Hello.", throughRunId: "run_1", turnCount: 1 }),
};

/** Two conversations of one workspace and one of another, the first of them summarised. */
async function conversations() {
  const appender = createAppender(createEventLog(createMemoryStore(), createSubjects()));
  return [
    await appender.append({ id: "run_1" }, created("sess_a")),
    await appender.append({ id: "run_2" }, created("")),
    await appender.append({ id: "run_3" }, created("sess_b")),
    await appender.append({ id: "run_4", workspaceId: "ws_other" }, created("sess_a")),
    await appender.append({ id: "run_5" }, created("sess_a")),
    await appender.append({ type: "session", id: "sess_a" }, compacted),
    await appender.append({ id: "run_7" }, created("sess_a")),
  ];
}

test.each([1, 2, 100])("sessions come out of the runs that name them, in batches of %i", async (batch) => {
  await using backend = await openTestBackend();
  const { postgres } = backend;
  const { db } = postgres;
  const records = await conversations();
  // Each batch by another projector, as after a restart: nothing is in its cache.
  for (let i = 0; i < records.length; i += batch) await project(postgres, records.slice(i, i + batch));
  expect(await readTables(postgres)).toEqual(foldInMemory(records));
  expect(await findSession(db, "ws_test", "sess_a")).toMatchObject({
    sessionId: "sess_a",
    workspaceId: "ws_test",
    runCount: 3n,
    lastRunId: "run_7",
    compaction: {
      summary: "Hello.",
      throughRunId: "run_1",
      turnCount: 1,
      compactTime: records[5]?.event.createTime,
    },
    createTime: records[0]?.event.createTime,
    updateTime: records[6]?.event.createTime,
    position: 7n,
  });
  expect(await findSession(db, "ws_test", "sess_never")).toBeUndefined();
  const page = readPage("test", [], 0, "");
  const { items: sessions } = await listSessions(db, "ws_test", page);
  expect(sessions.map(({ sessionId }) => sessionId)).toEqual(["sess_b", "sess_a"]);
  const { items } = await listSessionRuns(db, "ws_test", "sess_a", page);
  expect(items.map(({ runId }) => runId)).toEqual(["run_1", "run_5", "run_7"]);
  expect(await sessionRunPositions(db, "ws_test", "sess_a", ["run_1", "run_3", "run_4"])).toEqual(
    new Map([["run_1", 1n]]),
  );
});
