import type { Operation } from "../history.ts";
import type { Violation } from "../invariants.ts";
import { describe } from "./operations.ts";

/** I11: calls with one request_id get one answer, and only those with the body of the first get any. */
export function checkRepeats(operations: readonly Operation[]): Violation[] {
  const named = operations.filter(({ args }) => args["request_id"] !== undefined);
  return [...Map.groupBy(named, ({ op, args }) => `${op} ${args["request_id"]}`)].flatMap(([requestId, group]) => {
    const answered = group.filter(({ outcome }) => outcome === "ok");
    const [first, ...others] = answered;
    const different = others.filter(({ run_id: runId, answer }) => runId !== first?.run_id || answer !== first?.answer);
    const foreign = others.filter(({ args }) => args["body"] !== first?.args["body"]);
    const refused = group.filter(({ reason }) => reason === "REQUEST_ID_REUSED");
    const groundless = refused.filter(({ args }) =>
      group.every((other) => other.outcome === "fail" || other.args["body"] === args["body"]),
    );
    const at = (operation: Operation) => `${describe(operation)} with request_id ${requestId}`;
    return [
      ...different.map((it) => ({ invariant: "I11", at: at(it), problem: `got another answer than ${first?.id}` })),
      ...foreign.map((it) => ({
        invariant: "I11",
        at: at(it),
        problem: `has another body than ${first?.id}, but was accepted`,
      })),
      ...groundless.map((it) => ({
        invariant: "I11",
        at: at(it),
        problem: "was refused as reused, but no other body was sent",
      })),
    ];
  });
}
