import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mentionedIn } from "../../src/rooms/mentions.ts";
import { member } from "./rooms.ts";

const members = ["alice", "bob", "track-4", "ops.night", "x_"].map((handle) => member(handle));
const called = (text: string) => mentionedIn(text, members).map(({ handle }) => handle);

describe("calls", () => {
  test.each([
    ["@alice", ["alice"]],
    ["ask @Bob, then @ALICE.", ["bob", "alice"]],
    ["(@alice) **@bob** [@track-4](/x) “@ops.night”", ["alice", "bob", "track-4", "ops.night"]],
    ["@bob @bob @alice @bob", ["bob", "alice"]],
    ["see @track-4-- and @ops.night... and @x_!", ["track-4", "ops.night", "x_"]],
    ["@alice\n\n> @bob said so\n\n- @track-4\n\n  @ops.night", ["alice", "bob", "track-4", "ops.night"]],
    ["a ` alone @alice", ["alice"]],
    ["`code` @alice `code`", ["alice"]],
    ["\\`@alice`", ["alice"]],
    ["```@alice``` @bob", ["bob"]],
    ["- item\n\n      @alice", ["alice"]],
    ["```\n@bob\n```\n@alice", ["alice"]],
    ["~~~\n```\n@bob\n~~~\n@alice", ["alice"]],
  ])("%j calls %j", (text, handles) => {
    expect(called(text)).toEqual(handles);
  });

  test.each([
    "alice",
    "me@alice",
    "a.@alice",
    "@@alice",
    "/@alice",
    "\\@alice",
    "@alice-the-third",
    "@aliceé",
    "@",
    "@ alice",
    "`@alice`",
    "``a ` @alice``",
    "`a\n@alice`",
    "```\n@alice\n```",
    "```js\n@alice",
    "~~~\n@alice\n~~",
    "> ```\n> @alice\n> ```",
    "- ```\n  @alice\n  ```",
    "    @alice",
    "text\n\n\t@alice\n\n    @bob",
  ])("%j calls nobody", (text) => {
    expect(called(text)).toEqual([]);
  });

  test("at most 20", () => {
    const many = Array.from({ length: 30 }, (_, index) => member(`m${index}`));
    const text = many.map(({ handle }) => `@${handle}`).join(" ");
    expect(mentionedIn(text, many).map(({ handle }) => handle)).toEqual(many.slice(0, 20).map(({ handle }) => handle));
  });
});

const handle = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?$/);
const word = fc.stringMatching(/^[a-z ,;!?*>-]{0,12}$/);

describe("whatever the handles and the text", () => {
  test("a handle between blanks calls its member, in code it calls nobody", () => {
    fc.assert(
      fc.property(handle, word, word, fc.integer({ min: 1, max: 5 }), (name, before, behind, ticks) => {
        const all = [member(name)];
        expect(mentionedIn(`x${before} @${name} ${behind}`, all)).toEqual(all);
        const span = "`".repeat(ticks);
        expect(mentionedIn(`x${before} ${span}a @${name} b${span} ${behind}`, all)).toEqual([]);
        expect(mentionedIn(`x${before}\n\n\`\`\`\n${behind} @${name}\n\`\`\`\n`, all)).toEqual([]);
      }),
    );
  });

  test("who is called is a member whose handle stands in it, each once", () => {
    const text = fc.string({
      unit: fc.constantFrom("@", "`", "~", "\n", " ", "\\", "-", ".", ">", "a", "b", "\t", "é"),
      maxLength: 200,
    });
    fc.assert(
      fc.property(
        text,
        fc.uniqueArray(fc.constantFrom("a", "b", "ab", "a.b", "a-"), { maxLength: 5 }),
        (said, names) => {
          const found = mentionedIn(
            said,
            names.map((name) => member(name)),
          ).map((each) => each.handle);
          expect(new Set(found).size).toBe(found.length);
          for (const each of found) expect(said).toContain(`@${each}`);
        },
      ),
    );
  });
});

test.each([
  ["backticks", "`".repeat(65_536)],
  ["runs of all lengths", Array.from({ length: 350 }, (_, index) => `${"`".repeat(index + 1)} `).join("")],
  ["many short runs", "` `` ".repeat(13_000)],
  ["at signs", "@".repeat(65_536)],
  ["dots", `@a${".".repeat(65_000)}`],
  // Longer than a message: what takes a second per message has to fail here.
  ["dots before a letter", `@a${".".repeat(262_144)}b`],
  ["dots and letters", `@${"a.".repeat(32_000)}`],
  ["quotes", "> ".repeat(32_000)],
  ["backslashes", `${"\\".repeat(65_000)}\``],
  ["list marks", "- ".repeat(32_000)],
])("64 KiB of %s are read at once", (_what, text) => {
  expect(mentionedIn(text, members)).toEqual([]);
});
