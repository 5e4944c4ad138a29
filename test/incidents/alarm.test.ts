import { pino } from "pino";
import { expect, test } from "vitest";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { IncidentKind } from "../../gen/signalbox/v1/incident_pb.ts";
import { openAlarm } from "../../src/incidents/alarm.ts";
import type { RunFacts } from "../../src/incidents/causes.ts";
import type { Occurrence } from "../../src/incidents/occurrence.ts";
import { until } from "../support/until.ts";

const run: RunFacts = { roomId: "room_1", zone: Zone.SANDBOX, handler: "echo", toolOf: () => "mail" };

/** An alarm whose reports are kept in a list, once `find` has found their run. */
function openTestAlarm(find: (runId: string) => Promise<RunFacts | undefined>) {
  const reported: { occurrence: Occurrence; position: bigint }[] = [];
  const lines: string[] = [];
  const alarm = openAlarm({
    reports: {
      report(occurrence, position) {
        reported.push({ occurrence, position });
        return Promise.resolve({ incidentId: "inc_1", recorded: true, full: false });
      },
    },
    findRun: (_workspaceId, runId) => find(runId),
    position: () => 42n,
    log: pino({ level: "debug" }, { write: (line: string) => void lines.push(line) }),
  });
  return { alarm, reported, lines };
}

test("what is told is reported with its run and the log's position, once for the same lease or call", async () => {
  const { alarm, reported } = openTestAlarm(() => Promise.resolve(run));
  using _open = alarm;
  for (let i = 0; i < 50; i++) alarm.fencedWrite("ws_1", "run_1", "lease_1");
  alarm.payloadMismatch("ws_1", "run_1", "tc_1");
  await until(() => reported.length === 2, { what: "both reports" });
  expect(reported).toMatchObject([
    { position: 42n, occurrence: { kind: IncidentKind.FENCED_WRITE, cause: "fenced_write/echo" } },
    { position: 42n, occurrence: { kind: IncidentKind.HASH_MISMATCH, cause: "payload_mismatch/echo/mail" } },
  ]);
});

test("a run that does not exist is nobody's incident", async () => {
  const { alarm, reported } = openTestAlarm((runId) => Promise.resolve(runId === "run_1" ? run : undefined));
  using _open = alarm;
  alarm.fencedWrite("ws_1", "run_0", "lease_1");
  alarm.fencedWrite("ws_1", "run_1", "lease_1");
  await until(() => reported.length > 0, { what: "the report of the run that exists" });
  expect(reported).toHaveLength(1);
});

test("while nothing can be written, as many wait as there is room for; the rest is dropped and logged", async () => {
  const { promise, resolve } = Promise.withResolvers<RunFacts | undefined>();
  const { alarm, reported, lines } = openTestAlarm(() => promise);
  using _open = alarm;
  for (let i = 0; i < 1_000; i++) alarm.fencedWrite("ws_1", `run_${i}`, "lease_1");
  expect(lines.filter((line) => line.includes("alarm dropped"))).toHaveLength(800);
  resolve(run);
  await until(() => reported.length === 200, { what: "those that had room" });
});

test("a closed alarm takes nothing and never throws", () => {
  const { alarm, reported } = openTestAlarm(() => Promise.reject(new Error("away")));
  alarm[Symbol.dispose]();
  alarm[Symbol.dispose]();
  alarm.fencedWrite("ws_1", "run_1", "lease_1");
  expect(reported).toEqual([]);
});
