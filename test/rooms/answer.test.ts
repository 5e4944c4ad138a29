import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { jsonValue } from "../../src/client/json.ts";
import { RunSchema, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { answerOf, refusalOf } from "../../src/rooms/answer.ts";
import { answerDepth, calledBy } from "../../src/rooms/calling.ts";
import { defaultHandle } from "../../src/rooms/handle.ts";
import { agent, agentId, member, user } from "./rooms.ts";

const succeeded = (output?: unknown) =>
  answerOf(
    create(RunSchema, {
      runId: "run_1",
      status: RunStatus.SUCCEEDED,
      ...(output === undefined ? {} : { output: jsonValue(output) }),
    }),
  )?.text ?? "";

describe("the answer of a run", () => {
  test.each([
    ["free", "free"],
    [{ text: "**free**\n", turns: 1 }, "**free**\n"],
    [{ free: true }, '```json\n{\n  "free": true\n}\n```'],
    [4, "```json\n4\n```"],
    ["a\0b", "ab"],
    ["  ", "The run ended without an answer."],
    [null, "The run ended without an answer."],
    [undefined, "The run ended without an answer."],
  ])("%j is posted as %j", (output, text) => {
    expect(succeeded(output)).toBe(text);
  });

  test("fits into a message, cut between characters", () => {
    const text = succeeded("é".repeat(40_000));
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(65_536);
    expect(Buffer.byteLength(text)).toBeGreaterThan(65_530);
    expect(text).toMatch(/^é+\n\n… \(cut here: the output of run_1 has all of it\)$/);
    expect(succeeded("x".repeat(65_536))).toHaveLength(65_536);
  });

  test("that failed or was canceled is one line that calls nobody", () => {
    const error = { code: "BAD", message: "no\nsuch\0 track", retryable: false };
    expect(answerOf(create(RunSchema, { status: RunStatus.FAILED, error }))).toEqual({
      text: "The run failed: BAD: no such track",
      mayCall: false,
    });
    expect(answerOf(create(RunSchema, { status: RunStatus.CANCELED }))?.text).toBe("The run was canceled");
    expect(refusalOf("x".repeat(600)).text).toHaveLength("The run ".length + 501);
  });

  test("is none before its end", () => {
    expect(answerOf(create(RunSchema, { status: RunStatus.PAUSED }))).toBeUndefined();
  });
});

describe("a mention", () => {
  const members = [member("alice"), member("bot", agent()), member("other", agent(`${agentId}2`))];
  const call = (more: Partial<Parameters<typeof calledBy>[0]> = {}) =>
    calledBy({
      text: "@bot @alice @other",
      members,
      author: "user:alice",
      mentionDepth: 0,
      callsAgents: true,
      runIdOf: (id) => `run of ${id}`,
      ...more,
    });
  const runsOf = ({ mentions }: ReturnType<typeof calledBy>) => mentions.map(({ runId }) => runId);

  test("of an agent names its run; nobody calls themselves", () => {
    expect(call().mentions.map(({ handle }) => handle)).toEqual(["bot", "other"]);
    expect(runsOf(call())).toEqual([`run of ${agentId}`, `run of ${agentId}2`]);
    const answer = call({ author: `agent:${agentId}` });
    expect(answer.mentions.map(({ handle }) => handle)).toEqual(["alice", "other"]);
    expect(runsOf(answer)).toEqual(["", `run of ${agentId}2`]);
  });

  test("is refused a run behind 8 answers of agents, and that is said", () => {
    expect(call({ mentionDepth: 7 }).refused).toBe(false);
    expect(runsOf(call({ mentionDepth: 7 }))).toEqual([`run of ${agentId}`, `run of ${agentId}2`]);
    expect(call({ mentionDepth: 8 }).refused).toBe(true);
    expect(runsOf(call({ mentionDepth: 8 }))).toEqual(["", ""]);
    expect(call({ mentionDepth: 8, members: [member("alice"), member("bob", user("bob"))] }).refused).toBe(false);
  });

  test("among several makes the answers deeper, so that whoever calls whom, a message is followed by some hundred runs", () => {
    /** The depth of the answers to a message that calls so many agents; undefined when it may not. */
    function depthAfter(count: number, mentionDepth: number): number | undefined {
      const names = Array.from({ length: count }, (_, index) => `b${index}`);
      const bots = names.map((name) => member(name, agent(name)));
      const message = call({ text: names.map((name) => `@${name}`).join(" "), members: bots, mentionDepth });
      return message.refused ? undefined : answerDepth({ ...message, mentionDepth });
    }
    /** How many runs follow when `first` agents are called, and each answer calls `again` of them. */
    function runsAfter(first: number, again: number): number {
      let [runs, level] = [first, first];
      for (let depth = depthAfter(first, 0); depth !== undefined;) {
        depth = depthAfter(again, depth);
        level *= again;
        if (depth !== undefined) runs += level;
      }
      return runs;
    }
    expect(runsAfter(1, 1)).toBe(8);
    expect(runsAfter(2, 1)).toBe(14);
    expect(runsAfter(3, 2)).toBe(45);
    const most = Array.from({ length: 20 }, (_, first) =>
      Array.from({ length: 20 }, (__, again) => runsAfter(first + 1, again + 1)),
    );
    expect(Math.max(...most.flat())).toBeLessThan(1_000);
    expect(answerDepth({ mentions: [], mentionDepth: 3 })).toBe(4);
  });

  test("creates no run where agents are not called", () => {
    expect(call({ callsAgents: false })).toMatchObject({ refused: false });
    expect(runsOf(call({ callsAgents: false }))).toEqual(["", ""]);
  });
});

test.each([
  [["alice"], "alice"],
  [["Zoë.Müller@example.com"], "zoe.muller-example.com"],
  [["Basic Assistant!"], "basic-assistant"],
  [["__x__"], "x"],
  [["日本", "agt_01"], "agt_01"],
  [["日本"], "member"],
  [["x".repeat(100)], "x".repeat(64)],
])("the default handle of %j is %j", (names, handle) => {
  expect(defaultHandle(...names)).toBe(handle);
});
