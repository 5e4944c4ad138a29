import { pino } from "pino";
import { expect, test } from "vitest";
import { sleep } from "../../src/kernel/wait.ts";
import { createBackground } from "../../src/kernel/background.ts";
import { inVirtualTime } from "../support/virtual-time.ts";

const log = pino({ level: "silent" });

test("everything is done, so much at a time", async () => {
  await inVirtualTime(async () => {
    const background = createBackground(log, new AbortController().signal);
    let [running, most, done] = [0, 0, 0];
    for (let n = 0; n < 3_000; n++) {
      background.start(async () => {
        most = Math.max(most, ++running);
        await sleep(1 + (n % 7));
        running--;
        done++;
      });
    }
    await sleep(10_000);
    expect([done, most]).toEqual([3_000, 32]);
  });
});

test("what fails is done again, and said to have failed after the last time", async () => {
  await inVirtualTime(async () => {
    const background = createBackground(log, new AbortController().signal);
    const tries = { passing: 0, final: 0 };
    const failed: string[] = [];
    background.start(
      async () => {
        if (++tries.passing < 3) throw new Error("not yet");
      },
      () => failed.push("passing"),
    );
    background.start(
      async () => {
        tries.final++;
        throw new Error("never");
      },
      () => failed.push("final"),
    );
    await sleep(60_000);
    expect(tries).toEqual({ passing: 3, final: 4 });
    expect(failed).toEqual(["final"]);
  });
});

test("nothing begins after the signal", async () => {
  await inVirtualTime(async () => {
    const stop = new AbortController();
    const background = createBackground(log, stop.signal);
    let done = 0;
    for (let n = 0; n < 100; n++) {
      background.start(async () => {
        await sleep(1);
        done++;
      });
    }
    stop.abort();
    background.start(async () => void done++);
    await sleep(1_000);
    expect(done).toBe(32);
  });
});
