import { createConnectTransport } from "@connectrpc/connect-web";
import { createSignalboxClient, follow } from "signalbox/client";

export async function startAndFollow(baseUrl: string, show: (line: string) => void): Promise<void> {
  using client = createSignalboxClient({ transport: createConnectTransport({ baseUrl }) });
  const { run } = await client.runs.createRun({ handler: "echo" });
  for await (const { type } of follow(client, { filter: { runId: run?.runId ?? "" } })) show(type);
}
