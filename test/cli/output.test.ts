import { describe, expect, test } from "vitest";
import { createTestOutput } from "./sink.ts";

describe("createOutput", () => {
  test("shows text to people and JSON to programs", () => {
    const people = createTestOutput();
    people.output.show({ a: 1 }, "one");
    people.output.say("two");
    expect(people.stdout.text()).toBe("one\ntwo\n");
    const programs = createTestOutput({ json: true });
    programs.output.show({ a: 1 }, "one");
    programs.output.say("two");
    expect(programs.stdout.text()).toBe('{"a":1}\n');
  });

  test("keeps notes and errors off stdout", () => {
    const { output, stdout, stderr } = createTestOutput();
    output.note("wait");
    output.fail({ message: "no such run", hint: "list them", reason: "RUN_NOT_FOUND" });
    expect(stdout.text()).toBe("");
    expect(stderr.text()).toBe("wait\nerror: no such run (RUN_NOT_FOUND)\nhint: list them\n");
  });

  test("tells programs of an error in one line of JSON", () => {
    const { output, stderr } = createTestOutput({ json: true });
    output.fail({ message: "no such run", hint: "", reason: "RUN_NOT_FOUND" });
    expect(JSON.parse(stderr.text())).toEqual({ error: { message: "no such run", hint: "", reason: "RUN_NOT_FOUND" } });
  });

  test("shows control characters instead of sending them to the terminal", () => {
    const { output, stdout, stderr } = createTestOutput();
    output.say("\u001b[31mred\u0007\ttab\nline\r");
    output.say("pay\u202e001\u2066");
    output.note("\u009b2J");
    expect(stdout.text()).toBe("\\u001b[31mred\\u0007\ttab\nline\\u000d\npay\\u202e001\\u2066\n");
    expect(stderr.text()).toBe("\\u009b2J\n");
  });

  test("rewrites progress in place on a terminal", () => {
    const { output, stderr } = createTestOutput({ isTTY: true });
    output.progress("1 of 2");
    output.progress("2 of 2");
    output.progress("");
    output.note("done");
    expect(stderr.text()).toBe("1 of 2\r\u001b[2K2 of 2\r\u001b[2Kdone\n");
  });

  test("tells progress at most every few seconds elsewhere", () => {
    const { output, stderr } = createTestOutput();
    output.progress("");
    for (let step = 1; step <= 100; step++) output.progress(`${step} of 100`);
    expect(stderr.text().split("\n").length).toBeLessThanOrEqual(2);
  });

  test("says when nobody reads stdout any more, and stops writing", () => {
    const { output, stdout, isClosed } = createTestOutput();
    stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    output.say("unheard");
    expect(isClosed()).toBe(true);
    expect(stdout.text()).toBe("");
  });
});
