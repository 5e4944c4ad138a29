import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { createSignalboxClient, CreateRunResponseSchema, type SignalboxClient } from "../../src/client/client.ts";
import type { Role } from "../../src/cli/serve.ts";
import type { BareServerProcess } from "../processes/bare-server.ts";
import type { ServerProcess } from "../processes/server.ts";
import type { Backend } from "./backend.ts";
import { type Remote, startProcess } from "./remote.ts";
import { newRun } from "./runs.ts";

/** A server in a process of its own. */
export interface RunningServer<Process extends ServerProcess | BareServerProcess> {
  readonly url: string;
  readonly process: Remote<Process>;
}

/** Where the module of a process is. */
export function processModule(name: string): URL {
  return new URL(`../processes/${name}.ts`, import.meta.url);
}

/** Starts Signalbox on the backend. */
export async function startServer(
  { natsUrl, databaseUrl, folder }: Backend,
  roles: readonly Role[],
  stack: AsyncDisposableStack,
): Promise<RunningServer<ServerProcess>> {
  const process = stack.use(await startProcess<ServerProcess>(processModule("server"), ["--expose-gc"]));
  const artifactDir = join(folder, "artifacts");
  return { process, url: await process.call("open", { natsUrl, databaseUrl, artifactDir, roles }) };
}

/** Starts Connect alone; its CreateRun answers what Signalbox at `sampleUrl` answers, byte for byte. */
export async function startBareServer(
  sampleUrl: string,
  stack: AsyncDisposableStack,
): Promise<RunningServer<BareServerProcess>> {
  using client = createSignalboxClient({ baseUrl: sampleUrl });
  const response = toBinary(CreateRunResponseSchema, await client.runs.createRun(newRun));
  const process = stack.use(await startProcess<BareServerProcess>(processModule("bare-server"), ["--expose-gc"]));
  return { process, url: await process.call("open", response) };
}

/** Resolves when the read models have come to the end of the log, so that nothing of one turn burdens the next. */
export async function settle(url: string): Promise<void> {
  using client = createSignalboxClient({ baseUrl: url });
  const { position } = await client.runs.createRun(newRun);
  await client.runs.listRuns({ pageSize: 1, minPosition: position }, { timeoutMs: 60_000 });
}

/** The sizes of the events of one run of the handler `echo`, in bytes as stored; waits for it to end. */
export async function eventSizes(url: string): Promise<number[]> {
  using client = createSignalboxClient({ baseUrl: url });
  const { run } = await client.runs.createRun(newRun);
  const runId = run?.runId ?? "";
  await client.runs.waitRun({ runId });
  return await storedSizes(client, { runId });
}

/** The sizes of the first events that the filter keeps, at most 50 of them, in bytes as stored, in log order. */
export async function storedSizes(
  client: Pick<SignalboxClient, "events">,
  filter: { readonly runId: string } | { readonly types: string[] },
): Promise<number[]> {
  const { events } = await client.events.listEvents({ filter });
  const stored = await Promise.all(events.map(({ eventId }) => client.events.getEvent({ eventId })));
  return stored.map(({ storedBytes }) => storedBytes.length);
}
