import { expect, test } from "vitest";
import { PauseReason, RunEndReason, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { openFakeServer } from "./fake-server.ts";

const runId = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const approvalId = "appr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const approval = { conditions: [{ condition: { case: "approval" as const, value: { approvalId } } }] };

test("wait says once what people have to do, keeps waiting, and shows the run in the end", async () => {
  const waiting = { runId, status: RunStatus.WAITING, waitingOn: approval };
  const paused = { runId, status: RunStatus.PAUSED, pause: { reason: PauseReason.KILL_SWITCH, note: "wrong prices" } };
  const answers = [waiting, waiting, paused, { runId, status: RunStatus.SUCCEEDED, endReason: RunEndReason.COMPLETED }];
  await using server = await openFakeServer({
    runs: {
      getRun: () => ({ run: waiting }),
      waitRun: () => ({ run: answers.shift() ?? waiting }),
    },
  });
  const { code, stdout, stderr } = await server.run("runs", "wait", runId);
  expect(stderr.trim().split("\n")).toEqual([
    `${runId} waits for an approval: signalbox approvals show ${approvalId}`,
    `${runId} is paused (KILL_SWITCH: wrong prices): signalbox kill-switch status, then signalbox runs resume ${runId}`,
  ]);
  expect(stdout).toMatch(/status +SUCCEEDED/);
  expect(code).toBe(exitCodes.ok);
});

test("a run that waits for an approval is shown with the command that shows it", async () => {
  await using server = await openFakeServer({
    runs: { getRun: () => ({ run: { runId, status: RunStatus.WAITING, waitingOn: approval } }) },
  });
  expect(await server.text("runs", "show", runId)).toMatch(
    new RegExp(`status +WAITING\nwaits for +${approvalId}\ndecide +signalbox approvals show ${approvalId}\n`),
  );
});
