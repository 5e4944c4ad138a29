import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { jsonValue, type SignalboxClient, valueToJson } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { claim } from "./claims.ts";
import { refusal } from "./refusal.ts";
import { createRun } from "./runs.ts";
import { headPosition } from "./subscribed.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const newClient = () => installation.client({ workspaceId: newWorkspaceId() });
const unknownRunId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";

/** A run of the session that is asked something; returns its id. */
function ask(client: SignalboxClient, sessionId: string, question = "?"): Promise<string> {
  return createRun(client, { handler: "talk", sessionId, input: jsonValue(question) });
}

/** Asks and answers; returns the run's id. */
async function talk(client: SignalboxClient, sessionId: string, question: string, answer: string): Promise<string> {
  const runId = await ask(client, sessionId, question);
  const { leaseToken } = await claim(client, "talk");
  await client.engine.completeRun({ leaseToken, output: jsonValue(answer) });
  return runId;
}

const refusals = (calls: Promise<unknown>[]) => Promise.all(calls.map(refusal));

async function history(client: SignalboxClient, request: { sessionId: string; afterRunId?: string }) {
  const minPosition = await headPosition(client);
  return client.sessions.getSessionHistory({ ...request, minPosition });
}

describe("a session", () => {
  test("comes into being with the first run that names it, and counts its runs", async () => {
    const client = newClient();
    const first = await client.runs.createRun({ handler: "talk", sessionId: "sess_a" });
    const before = await client.sessions.getSession({ sessionId: "sess_a", minPosition: first.position });
    expect(before.session).toMatchObject({
      sessionId: "sess_a",
      runCount: 1n,
      lastRunId: first.run?.runId,
      createTime: first.run?.createTime,
      updateTime: first.run?.createTime,
      position: first.position,
    });
    const second = await client.runs.createRun({ handler: "talk", sessionId: "sess_a" });
    const { session } = await client.sessions.getSession({ sessionId: "sess_a", minPosition: second.position });
    expect(session).toMatchObject({
      runCount: 2n,
      lastRunId: second.run?.runId,
      createTime: first.run?.createTime,
      updateTime: second.run?.createTime,
    });
  });

  test("belongs to its workspace", async () => {
    const [one, two] = [newClient(), newClient()];
    await ask(one, "sess_a");
    await ask(two, "sess_a");
    await ask(two, "sess_a");
    const count = async (client: SignalboxClient) => (await history(client, { sessionId: "sess_a" })).session?.runCount;
    expect([await count(one), await count(two)]).toEqual([1n, 2n]);
  });

  test("that no run names is not found", async () => {
    const client = newClient();
    const sessionId = "sess_never";
    for (const refused of await refusals([
      client.sessions.getSession({ sessionId }),
      client.sessions.getSessionHistory({ sessionId }),
      client.sessions.compactSession({ sessionId, summary: "s", throughRunId: unknownRunId }),
    ])) {
      expect(refused).toMatchObject({ code: Code.NotFound, reason: "SESSION_NOT_FOUND" });
    }
  });

  test.each(["", "sess_", "run_a", "sess_a.b", "sess_ä"])("is not called %j", async (sessionId) => {
    const client = newClient();
    for (const refused of await refusals([
      client.sessions.getSession({ sessionId }),
      client.sessions.getSessionHistory({ sessionId }),
      client.sessions.compactSession({ sessionId, summary: "s", throughRunId: unknownRunId }),
    ])) {
      expect(refused).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    }
  });

  test("is listed, the last to come into being first, page by page", async () => {
    const client = newClient();
    for (const sessionId of ["sess_a", "sess_b", "sess_c", "sess_a"]) await ask(client, sessionId);
    await createRun(client, { handler: "talk" });
    const minPosition = await headPosition(client);
    const page = await client.sessions.listSessions({ minPosition, pageSize: 2 });
    const rest = await client.sessions.listSessions({ minPosition, pageSize: 2, pageToken: page.nextPageToken });
    const found = [...page.sessions, ...rest.sessions].map(({ sessionId }) => sessionId);
    expect(found).toEqual(["sess_c", "sess_b", "sess_a"]);
    expect(rest.nextPageToken).toBe("");
  });
});

describe("the history of a session", () => {
  test("tells what was asked and answered, oldest first", async () => {
    const client = newClient();
    const hello = await talk(client, "sess_a", "Hello?", "Hello.");
    await ask(client, "sess_b", "elsewhere");
    const open = await ask(client, "sess_a", "Still there?");
    const { turns, session } = await history(client, { sessionId: "sess_a" });
    expect(turns.map((turn) => ({ ...turn, input: valueToJson(turn.input) }))).toMatchObject([
      { runId: hello, status: RunStatus.SUCCEEDED, input: "Hello?", output: jsonValue("Hello.") },
      { runId: open, status: RunStatus.QUEUED, input: "Still there?" },
    ]);
    expect(turns.map(({ output, endTime }) => [output !== undefined, endTime !== undefined])).toEqual([
      [true, true],
      [false, false],
    ]);
    expect(session).toMatchObject({ sessionId: "sess_a", runCount: 2n, lastRunId: open });
  });

  test("goes on behind a run, page by page", async () => {
    const client = newClient();
    const ids: string[] = [];
    for (let n = 0; n < 6; n++) ids.push(await ask(client, "sess_a"));
    const minPosition = await headPosition(client);
    const found: string[] = [];
    let pageToken = "";
    do {
      const request = { sessionId: "sess_a", afterRunId: ids[0]!, pageSize: 2, pageToken, minPosition };
      const page = await client.sessions.getSessionHistory(request);
      found.push(...page.turns.map(({ runId }) => runId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found).toEqual(ids.slice(1));
  });

  test("is refused behind a run of another session", async () => {
    const client = newClient();
    await ask(client, "sess_a");
    const afterRunId = await ask(client, "sess_b");
    const behind = history(client, { sessionId: "sess_a", afterRunId });
    expect(await refusal(behind)).toMatchObject({ code: Code.NotFound, reason: "RUN_NOT_FOUND" });
  });
});

describe("CompactSession", () => {
  test("records a summary once, and the turns stay", async () => {
    const client = newClient();
    const ids = [await talk(client, "sess_a", "1?", "1."), await talk(client, "sess_a", "2?", "2.")];
    const request = { sessionId: "sess_a", summary: "They counted.", throughRunId: ids[0]!, turnCount: 1 };
    const compacted = await client.sessions.compactSession(request);
    expect(compacted.session).toMatchObject({
      runCount: 2n,
      compaction: { summary: "They counted.", throughRunId: ids[0], turnCount: 1 },
      position: compacted.position,
    });
    expect(compacted.session?.compaction?.compactTime).toEqual(compacted.session?.updateTime);
    expect(await client.sessions.compactSession(request)).toEqual(compacted);
    const { turns, session } = await history(client, { sessionId: "sess_a" });
    expect(session).toEqual(compacted.session);
    expect(turns.map(({ runId }) => runId)).toEqual(ids);
    const filter = { stream: { type: "session", id: "sess_a" } };
    const { events } = await client.events.listEvents({ filter, minPosition: compacted.position });
    expect(events.map(({ type }) => type)).toEqual(["session.compacted"]);
  });

  test("only ever covers more", async () => {
    const client = newClient();
    const ids = [await ask(client, "sess_a"), await ask(client, "sess_a")];
    const compact = (throughRunId: string, summary: string) =>
      client.sessions.compactSession({ sessionId: "sess_a", summary, throughRunId, turnCount: 1 });
    await compact(ids[1]!, "both");
    expect(await refusal(compact(ids[0]!, "first"))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "INVALID_STATE",
      metadata: { through_run_id: ids[1] },
    });
    expect((await compact(ids[1]!, "better")).session?.compaction?.summary).toBe("better");
  });

  test("refuses a run of another session, and one that never was", async () => {
    const client = newClient();
    await ask(client, "sess_a");
    for (const throughRunId of [await ask(client, "sess_b"), unknownRunId]) {
      const call = client.sessions.compactSession({ sessionId: "sess_a", summary: "s", throughRunId });
      expect(await refusal(call)).toMatchObject({ code: Code.NotFound, reason: "RUN_NOT_FOUND" });
    }
  });
});

test("sessions and their summaries are the same after a restart", async () => {
  const client = newClient();
  const runId = await talk(client, "sess_a", "Hello?", "Hello.");
  const request = { sessionId: "sess_a", summary: "A greeting.", throughRunId: runId, turnCount: 1 };
  const { session, position } = await client.sessions.compactSession(request);
  const [server] = installation.servers;
  await server!.stop();
  await server!.start();
  expect((await client.sessions.getSession({ sessionId: "sess_a", minPosition: position })).session).toEqual(session);
  expect(await client.sessions.compactSession(request)).toMatchObject({ session, position });
});
