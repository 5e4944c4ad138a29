import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { createLogger } from "../../src/cli/logger.ts";

function setUp(isTTY: boolean) {
  let text = "";
  const stream = { isTTY, write: (line: string) => (text += line) };
  return { log: createLogger("info", stream), text: () => stripVTControlCharacters(text) };
}

test("writes JSON lines where nobody watches", () => {
  const { log, text } = setUp(false);
  log.info({ port: 4222 }, "nats reconnected");
  log.debug("unseen");
  expect(JSON.parse(text())).toMatchObject({ level: 30, port: 4222, msg: "nats reconnected" });
});

test("writes lines for people on a terminal", () => {
  const { log, text } = setUp(true);
  log.warn({ err: new Error("broken pipe"), port: 4222, path: "/tmp" }, "nats error");
  expect(text()).toMatch(/^\d\d:\d\d:\d\d warn {2}nats error port=4222 path=\/tmp err="broken pipe"\n$/);
});

test("shows the stack of an error from level error on", () => {
  const { log, text } = setUp(true);
  log.error({ err: new Error("broken") }, "request failed");
  expect(text()).toContain("logger.test.ts");
});
