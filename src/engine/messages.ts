import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import type { JsonValue } from "../client/json.ts";
import type { Activity } from "./activity.ts";
import type { Commands } from "./commands.ts";
import { endOf } from "./entry.ts";
import type { HandlerContext } from "./handler.ts";
import type { Inbox, InboxMessage } from "./inbox.ts";
import type { Journal } from "./journal.ts";
import type { Ledger } from "./ledger.ts";
import type { StepOutputs } from "./step-outputs.ts";
import { resultOf } from "./steps.ts";
import type { Waits } from "./waits.ts";

/** What waits for messages need. */
export interface MessagesOptions {
  readonly run: Run;
  readonly inbox: Inbox;
  readonly events: SignalboxClient["events"];
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly waits: Waits;
  readonly outputs: StepOutputs;
}

/** Waits for messages, each taken once, in the order in which they came. */
export function createMessages(options: MessagesOptions): HandlerContext["waitForMessage"] {
  const { inbox, commands, ledger, journal, activity, waits, outputs } = options;

  async function next(sequence: number, threadId: string): Promise<InboxMessage> {
    for (;;) {
      const message = inbox.take(threadId);
      if (message !== undefined) return message;
      await waits.until(sequence, { threadId });
      await activity.during(() => readMore(options));
    }
  }

  return (threadId = "", { name = "message" } = {}) =>
    commands.perform<JsonValue>({
      kind: "message",
      name,
      async live(command) {
        const started = await journal.start(() => ledger.startStep(command, { threadId }));
        if (started.end?.outcome.ok) return resultOf(started.end);
        const { content } = await next(command.sequence, threadId);
        const ending = await activity.during(() => outputs.keep(started, { ok: true, output: content }));
        const ended = await journal.end(() => ledger.end(started, ending));
        return resultOf(endOf(ended));
      },
      replayed: resultOf,
    });
}

/** Reads what has come since the newest known message. */
async function readMore({ run: { runId }, inbox, events, ledger }: MessagesOptions): Promise<void> {
  for (;;) {
    const request = {
      filter: { runId, types: ["run.message_received"] },
      afterPosition: inbox.position(),
      minPosition: ledger.position(),
      pageSize: 200,
    };
    const { events: page } = await ledger.ask((call) => events.listEvents(request, call));
    if (page.length === 0) return;
    inbox.add(
      page.flatMap(({ payload, position }) =>
        payload.case === "runMessageReceived" ? [{ ...payload.value, position }] : [],
      ),
    );
  }
}
