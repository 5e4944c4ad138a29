import { expect, test } from "vitest";
import { createHeartbeats } from "../../src/jobs/heartbeats.ts";
import { openTestBackend } from "../support/backend.ts";
import { until } from "../support/until.ts";

test("a listener hears signs of life, and learns when it may have missed some", async () => {
  await using backend = await openTestBackend();
  const heartbeats = createHeartbeats(backend.nats, `${backend.prefix}.alive`);
  const heard: string[] = [];
  let gaps = 0;
  using _listening = heartbeats.listen(
    (runId) => heard.push(runId),
    () => gaps++,
  );
  heartbeats.send("run_1");
  await until(() => heard.length === 1, { what: "the first sign of life" });
  expect(gaps).toBe(0);
  await backend.nats.connection.reconnect();
  await until(() => gaps === 1, { what: "the gap to be told" });
  heartbeats.send("run_2");
  await until(() => heard.includes("run_2"), { what: "a sign of life after the gap" });
});
