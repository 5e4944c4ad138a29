import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AddDocumentRequestSchema } from "../../../gen/signalbox/v1/document_service_pb.ts";

/** The collection of what Signalbox brings along to look things up in. */
export const starterCollection = "signalbox-docs";

/** What adds a document, made for AddDocument. */
export type StarterDocument = MessageInitShape<typeof AddDocumentRequestSchema>;

// Whoever changes a text raises its version: the same request_id with another body is refused.
const texts: readonly (readonly [id: string, title: string, text: string])[] = [
  [
    "runs/1",
    "Runs",
    `A run is one piece of work. It names a handler or an agent, and may have an input, labels, a queue, a room, a session and a longest duration. A run is queued until a worker claims it, running while a worker holds its lease, waiting while it needs no worker, paused until somebody resumes it, and in the end succeeded, failed or canceled.

A run ends exactly once, and nothing is recorded in it afterwards. Canceling a run ends it at once and fences its worker out. A request id makes creating a run repeatable: the same id with the same body answers the first run for ever.`,
  ],
  [
    "leases/1",
    "Leases and fencing",
    `Workers pull runs by claiming them. Each claim gives a lease with a token, and the worker sends heartbeats to keep it. When no heartbeat comes in time the lease lapses and the run goes to another worker.

Each claim fences the worker before it out: every command of a worker is decided against the run's own events, and a command under an old lease is refused with LEASE_LOST. It does not matter what the clock of the old worker says.`,
  ],
  [
    "durable-functions/1",
    "Durable functions",
    `A handler is a plain async function that survives crashes. What it asks of its context is recorded: a step runs once per run, and on replay its recorded output is answered without running the function again. A model answer is recorded too, so a replay costs no tokens.

A handler can wait for days without holding a worker. When it sleeps, waits for a child run or waits for a message, the run is suspended and gives its lease back. The wake-up queues it again. A replay that asks for something else than the record has fails with NON_DETERMINISTIC and names both sides.`,
  ],
  [
    "tool-calls/1",
    "Tool calls",
    `A tool call is recorded before the tool is called. When a worker dies in the middle of a call, nobody knows whether the tool took effect. A tool that only reads, or is idempotent, is simply called again. Any other call becomes unknown: it is not repeated until somebody has looked and reconciled it.

A tool has a JSON Schema for its arguments, a version, a time limit and an effect class: read, write or external write. Arguments that do not fit the schema are refused before anything happens.`,
  ],
  [
    "events/1",
    "Events and positions",
    `Every change is one event in the log, and all other state is derived from it. Events are chained by hashes, so a changed or missing event is noticed; signalbox verify checks the chain.

A position is a place in the log. Every command answers with the position after it; a read with that position as its least position sees the command's effect. A subscription resumes after the last position it saw, and misses nothing.`,
  ],
  [
    "agents/1",
    "Agents, models and budgets",
    `An agent is a named configuration: model, instructions, tools, memory and limits. The agent handler asks the model, makes the tool calls that it asks for side by side, and goes on until there is an answer. Text is streamed while the model writes.

A model is named provider/model, for example openai, anthropic or google, or any endpoint that speaks OpenAI's language. Several with commas between are a chain: each is asked when those before it fail. Without a key the offline mock model answers. A budget limits tokens, cost, steps, tool calls and time of a run; a run that reaches it is paused with the reason and not lost.`,
  ],
];

/** A few texts about Signalbox itself, so that there is something to find. */
export const starterDocuments: readonly StarterDocument[] = texts.map(([id, title, text]) => ({
  requestId: `${starterCollection}/${id}`,
  collection: starterCollection,
  title,
  text,
  metadata: { source: "signalbox" },
}));
