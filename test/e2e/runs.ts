import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";

/** Creates a run; returns its id. */
export async function createRun(
  client: SignalboxClient,
  request: Parameters<SignalboxClient["runs"]["createRun"]>[0],
): Promise<string> {
  const { run } = await client.runs.createRun(request);
  return run?.runId ?? "";
}

/** The run once it has ended; as it is when it has not within 20 s. */
export async function ended(client: SignalboxClient, runId: string): Promise<Run> {
  const { run } = await client.runs.waitRun({ runId, timeout: { seconds: 20n } });
  if (run === undefined) throw new Error(`WaitRun answered without run ${runId}`);
  return run;
}

/** The types of a run's events, in log order. */
export async function eventTypes(client: SignalboxClient, runId: string): Promise<string[]> {
  const { events } = await client.events.listEvents({ filter: { runId } });
  return events.map(({ type }) => type);
}
