import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { EventService } from "../../../gen/signalbox/v1/event_service_pb.ts";
import { RunService } from "../../../gen/signalbox/v1/run_service_pb.ts";
import { baseUrl, show } from "./elements.ts";

// A page like a newcomer's first one: starts a run at another origin, and shows its events as they come.

const transport = createConnectTransport({ baseUrl });
const runs = createClient(RunService, transport);
const events = createClient(EventService, transport);

try {
  const { run } = await runs.createRun({ handler: "by_hand" });
  const runId = run?.runId ?? "";
  show("run", runId);
  for await (const { frame } of events.subscribe({ filter: { runId } })) {
    if (frame.case === "event") show("", `${frame.value.streamSequence} ${frame.value.type}`, "event");
  }
  const ended = await runs.getRun({ runId });
  show("end", JSON.stringify(ended.run?.output?.kind.value));
} catch (error) {
  show("error", String(error));
}
