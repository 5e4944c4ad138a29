import { expect, test } from "vitest";
import { until } from "./until.ts";

test("returns the first truthy value of a condition", async () => {
  const answers = [undefined, 0, "ready"];
  expect(await until(() => answers.shift(), { what: "an answer" })).toBe("ready");
});

test("names what it waited for and what it last saw once the deadline has passed", async () => {
  await expect(until(() => 0, { what: "a worker", timeoutMs: 20 })).rejects.toThrow(
    "timed out after 20 ms waiting for a worker; last seen: 0",
  );
});

test("gives up on a condition that hangs", async () => {
  const hanging = new Promise<boolean>(() => {});
  await expect(until(() => hanging, { what: "a reply", timeoutMs: 20 })).rejects.toThrow("waiting for a reply");
});

test("hands on the error of a condition at once", async () => {
  const failing = () => Promise.reject(new Error("connection refused"));
  await expect(until(failing, { what: "a reply" })).rejects.toThrow("connection refused");
});
