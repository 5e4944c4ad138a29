import { describe, expect, test } from "vitest";
import { createSubjects, subjectMatches } from "../../src/eventlog/subjects.ts";

const subjects = createSubjects();
const run = { workspaceId: "ws_1", type: "run", id: "run_1" };

test("a subject names partition, workspace, room, type and id", () => {
  expect(subjects.of(run, "room_1")).toBe("sb.evt.0.ws_1.room_1.run.run_1");
  expect(subjects.of(run, "")).toBe("sb.evt.0.ws_1._.run.run_1");
});

test.each([
  ["the whole log", subjects.all, true],
  ["its workspace", subjects.view({ workspaceId: "ws_1" }), true],
  ["another workspace", subjects.view({ workspaceId: "ws_2" }), false],
  ["its room", subjects.view({ workspaceId: "ws_1", roomId: "room_1" }), true],
  ["another room", subjects.view({ workspaceId: "ws_1", roomId: "room_2" }), false],
  ["itself", subjects.view({ workspaceId: "ws_1", stream: { type: "run", id: "run_1" } }), true],
  [
    "itself in another room",
    subjects.view({ workspaceId: "ws_1", roomId: "room_2", stream: { type: "run", id: "run_1" } }),
    false,
  ],
  [
    "an aggregate of another type",
    subjects.view({ workspaceId: "ws_1", stream: { type: "agent", id: "run_1" } }),
    false,
  ],
  ["itself in any room", subjects.anyRoom(run), true],
])("a run is seen in the view of %s: %#", (_name, filter, seen) => {
  expect(subjectMatches(filter, subjects.of(run, "room_1"))).toBe(seen);
});

describe("a filter", () => {
  test.each([
    ["a.b", "a.b", true],
    ["a.b", "a.b.c", false],
    ["a.*", "a.b", true],
    ["a.*", "a", false],
    ["a.*", "a.b.c", false],
    ["a.>", "a.b.c", true],
    ["a.>", "a", false],
    [">", "a", true],
    ["*.b", "a.b", true],
    ["*.b", "a.c", false],
  ])("%s on %s: %s", (filter, subject, matches) => {
    expect(subjectMatches(filter, subject)).toBe(matches);
  });
});

test.each(["", "a.b", "*", ">", "a b", "ä", "a\n"])("no name becomes more than one token: %j", (name) => {
  expect(() => subjects.of({ ...run, id: name }, "")).toThrow("not a subject token");
  expect(() => subjects.view({ workspaceId: name })).toThrow("not a subject token");
});
