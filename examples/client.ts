import { createSignalboxClient, follow, jsonValue, valueToJson } from "signalbox/client";

using client = createSignalboxClient({ baseUrl: process.env["SIGNALBOX_URL"] ?? "http://127.0.0.1:8080" });
const { run } = await client.runs.createRun({
  requestId: "greet-ada-1",
  handler: "greet",
  input: jsonValue("Ada"),
});
const runId = run?.runId ?? "";
for await (const event of follow(client, { filter: { runId } })) console.log(event.position, event.type);
const { run: ended } = await client.runs.getRun({ runId });
console.log(valueToJson(ended?.output));
