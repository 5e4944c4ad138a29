import { expect, test } from "vitest";
import { shortened } from "../../src/client/identity.ts";
import { onBehalfOf, personBehind, principalName, principalOfName } from "../../src/kernel/principal.ts";

const named = (name: string) => {
  const principal = principalOfName(name);
  if (principal === undefined) throw new Error(`${name} is no principal`);
  return principal;
};
const chainOf = (...names: string[]) =>
  onBehalfOf(named("service:worker"), names.map(named)).onBehalfOf.map(principalName);
const agents = Array.from({ length: 12 }, (_, n) => `agent:a${n}`);

test.each([
  ["nobody who does not have to be", [...agents.slice(0, 7), "user:alice"], [...agents.slice(0, 7), "user:alice"]],
  [
    "the agents in the middle, not the person with whom it began",
    [...agents, "user:alice"],
    [...agents.slice(0, 7), "user:alice"],
  ],
  [
    "whoever is behind that person",
    [...agents, "user:alice", "service:gateway"],
    [...agents.slice(0, 7), "user:alice"],
  ],
  ["the farthest where there is no person", agents, agents.slice(0, 8)],
  ["the farthest where the person is near", ["user:alice", ...agents], ["user:alice", ...agents.slice(0, 7)]],
])("a chain that is too long leaves out %s", (_, names, expected) => {
  expect(chainOf(...names)).toEqual(expected);
  expect(shortened(names)).toEqual(expected);
});

test.each([
  [["user:alice"], "user:alice"],
  [["service:gateway", "user:alice"], "user:alice"],
  [["service:gateway", "service:shop"], "service:gateway"],
  [["agent:a", "user:alice"], "agent:a"],
  [["service:static_token", "agent:a", "user:alice"], "agent:a"],
  [["service:handler:pay", "user:alice"], "service:handler:pay"],
  [["service:static_token", "service:handler:pay", "user:alice"], "service:handler:pay"],
])("behind %j stands %s", ([name = "", ...behind], expected) => {
  expect(principalName(personBehind(onBehalfOf(named(name), behind.map(named))))).toBe(expected);
});

test("nobody acts on behalf of themselves", () => {
  expect(chainOf("service:worker", "agent:a", "agent:a", "user:alice")).toEqual(["agent:a", "user:alice"]);
});
