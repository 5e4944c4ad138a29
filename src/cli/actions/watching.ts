import { toJson } from "@bufbuild/protobuf";
import { RunDeltaSchema } from "../../../gen/signalbox/v1/delta_pb.ts";
import { EventSchema } from "../../../gen/signalbox/v1/event_pb.ts";
import type { Run } from "../../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import { createConversation } from "../views/conversation.ts";
import { createTimeline } from "../views/timeline.ts";
import { exitCodeOf, waitForEnd } from "./ending.ts";
import { followEvents } from "./following.ts";

/** Shows what happens in a run until it has ended: a run of an agent as a conversation, any other event by event. */
export async function watchRun(client: SignalboxClient, cli: Cli, { runId, handler }: Run): Promise<ExitCode> {
  cli.output.say(runId);
  await (handler === "agent" ? watchConversation(client, cli, runId) : watchEvents(client, cli, runId));
  if (cli.signal.aborted) return exitCodes.interrupted;
  return exitCodeOf(await waitForEnd(client, cli, runId));
}

async function watchEvents(client: SignalboxClient, cli: Cli, runId: string): Promise<void> {
  const timeline = createTimeline();
  for await (const event of followEvents(client, cli, { filter: { runId } })) {
    cli.output.show(toJson(EventSchema, event), timeline.since(event));
  }
}

async function watchConversation(client: SignalboxClient, cli: Cli, runId: string): Promise<void> {
  const { output } = cli;
  const conversation = createConversation({ write: output.write, line: output.say });
  const events = followEvents(client, cli, {
    filter: { runId },
    onDelta: (delta) => {
      if (output.json) output.print(JSON.stringify({ delta: toJson(RunDeltaSchema, delta) }));
      else conversation.delta(delta);
    },
  });
  for await (const event of events) {
    if (output.json) output.print(JSON.stringify(toJson(EventSchema, event)));
    conversation.event(event);
  }
  if (conversation.model()?.startsWith("mock/")) {
    output.note(
      "offline: the mock model answered; set OPENAI_API_KEY, ANTHROPIC_API_KEY or GOOGLE_GENERATIVE_AI_API_KEY, or SIGNALBOX_MODEL, for the worker to ask a real one",
    );
  }
}
