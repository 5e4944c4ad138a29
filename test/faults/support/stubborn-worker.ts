// A worker that takes one run and never listens: whatever it is told, it goes on writing. Runs until it is killed.
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { pause } from "../../../src/client/backoff.ts";
import { jsonValue, ToolEffect } from "../../../src/client/client.ts";
import { openRecordedClient } from "../../support/recorded-client.ts";

const { SIGNALBOX_URL = "", HISTORY_FILE = "", WORKER_NAME = "" } = process.env;
using client = openRecordedClient(SIGNALBOX_URL, WORKER_NAME, HISTORY_FILE);
const { engine } = client;
const { leaseToken } = await engine.claimRun({
  handlers: ["stubborn"],
  workerId: WORKER_NAME,
  maxWait: durationFromMs(60_000),
});

for (let number = 1; ; number++) {
  const answered = await attempt(() => engine.startStep({ leaseToken, key: `step-${number}` }));
  const { stepId = "step_00000000000000000000000000" } = answered?.step ?? {};
  await attempt(() => engine.completeStep({ leaseToken, stepId, output: jsonValue(number) }));
  const call = { leaseToken, key: `tool-${number}`, tool: "tool", effect: ToolEffect.EXTERNAL_WRITE };
  await attempt(() => engine.startToolCall(call));
  await attempt(() => engine.heartbeat({ leaseToken }));
  // Only a lease that it has lost: it wants to be found in the middle of its work.
  if (answered === undefined) {
    await attempt(() => engine.completeRun({ leaseToken, output: jsonValue("mine") }));
    await attempt(() => engine.failRun({ leaseToken, error: { code: "MINE", retryable: true } }));
    await attempt(() => engine.releaseRun({ leaseToken }));
  }
  await pause(20);
}

/** The answer; undefined for a refusal, which the history has. */
async function attempt<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch {
    return undefined;
  }
}
