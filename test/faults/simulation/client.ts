import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CreateRunRequestSchema } from "../../../gen/signalbox/v1/run_service_pb.ts";
import { jsonValue } from "../../../src/client/json.ts";
import { hasReason } from "../../../src/kernel/errors.ts";
import { sleep } from "../../../src/kernel/wait.ts";
import type { Seeded } from "../../support/seeded.ts";
import { insist, methodsFor } from "./calls.ts";
import type { Stage } from "./stage.ts";

const runsPerClient = 2;

/** How often a call is repeated that has to come through. */
const doggedly = 1_000;

/** Creates runs, some of them twice, says something to each, pauses some for a while and cancels some. */
export async function actAsClient(stage: Stage, name: string): Promise<void> {
  const { random } = stage;
  const { createRun, cancelRun, getRun, pauseRun, resumeRun, sendMessage } = methodsFor(stage, name);

  async function pauseForAWhile(runId: string): Promise<void> {
    await insist(stage, () => pauseRun({ runId }).catch(expected("INVALID_STATE")), doggedly);
    await sleep(random.below(400));
    await insist(stage, () => resumeRun({ runId }).catch(expected("INVALID_STATE")), doggedly);
  }

  for (let number = 1; number <= runsPerClient; number++) {
    await sleep(random.below(300));
    const request = newRun(random, `${name}/${number}`);
    const created = await insist(stage, () => createRun(request), doggedly);
    const runId = created?.run?.runId ?? "";
    if (random.oneIn(3)) await insist(stage, () => createRun(request), 3);
    if (random.oneIn(5)) {
      const other = () => createRun({ ...request, sessionId: "sess_other" });
      await insist(stage, () => other().catch(expected("REQUEST_ID_REUSED")), 3);
    }
    await sleep(random.below(200));
    if (random.oneIn(2)) await insist(stage, () => getRun({ runId }), 3);
    if (random.oneIn(4)) {
      const cancel = () => cancelRun({ runId, reason: "no need" });
      await insist(stage, () => cancel().catch(expected("INVALID_STATE")), 3);
    }
    if (random.oneIn(3)) await pauseForAWhile(runId);
    // A worker may wait for it.
    const message = { runId, requestId: `${name}/${number}`, content: jsonValue("go on") };
    await insist(stage, () => sendMessage(message).catch(expected("INVALID_STATE")), doggedly);
  }
}

function newRun(random: Seeded, requestId: string): MessageInitShape<typeof CreateRunRequestSchema> {
  return {
    requestId,
    handler: random.pick(["one", "two"]),
    roomId: random.pick(["", "room_1"]),
    retryPolicy: {
      maxAttempts: random.pick([2, 50]),
      initialBackoff: durationFromMs(random.below(50)),
      maxBackoff: durationFromMs(100),
    },
    ...(random.oneIn(6) ? { maxDuration: durationFromMs(300 + random.below(600)) } : {}),
  };
}

function expected(reason: Parameters<typeof hasReason>[1]): (error: unknown) => undefined {
  return (error) => {
    if (!hasReason(error, reason)) throw error;
  };
}
