import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { EventService } from "../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../gen/signalbox/v1/run_service_pb.ts";

export async function startAndFollow(baseUrl: string, show: (line: string) => void): Promise<void> {
  const transport = createConnectTransport({ baseUrl });
  const { run } = await createClient(RunService, transport).createRun({ handler: "echo" });
  const filter = { runId: run?.runId ?? "" };
  for await (const { frame } of createClient(EventService, transport).subscribe({ filter })) {
    if (frame.case === "event") show(frame.value.type);
  }
}
