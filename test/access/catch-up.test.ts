import { expect, test } from "vitest";
import { catchUpWithLog } from "../../src/access/catch-up.ts";
import type { EventLog } from "../../src/eventlog/event-log.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";

const log: Pick<EventLog, "bounds"> = { bounds: async () => ({ earliest: 1n, head: 7n }) };

test("waits for what is at the head of the log, which another server may have put there", async () => {
  const asked: bigint[] = [];
  await catchUpWithLog({ log, positions: { reach: async (position) => void asked.push(position) } });
  expect(asked).toEqual([7n]);
});

test("gives up on tables that are behind, and hides no other trouble", async () => {
  function failing(error: Error) {
    async function reach() {
      throw error;
    }
    return catchUpWithLog({ log, positions: { reach } });
  }
  await failing(new SignalboxError("READ_MODEL_BEHIND", "behind"));
  const away = new SignalboxError("STORE_UNAVAILABLE", "away");
  await expect(failing(away)).rejects.toBe(away);
  const unreachable = { bounds: () => Promise.reject(away) };
  await expect(catchUpWithLog({ log: unreachable, positions: { reach: async () => {} } })).rejects.toBe(away);
});
