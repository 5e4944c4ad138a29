import type { RunMessage } from "../../gen/signalbox/v1/run_pb.ts";
import { entryOfStep } from "./entry.ts";
import type { Claim } from "./lease.ts";

/** What a handler gets of a message, and what tells it from the others. */
export type InboxMessage = Pick<RunMessage, "threadId" | "number" | "content" | "position">;

/** What was said to a run, as its handler takes it. */
export interface Inbox {
  /** The next message of a thread, now taken; undefined when none has come. */
  take(threadId: string): InboxMessage | undefined;
  /** How many messages of a thread the run has taken. */
  taken(threadId: string): number;
  /** More that has come; those that are known already are fine. */
  add(messages: readonly InboxMessage[]): void;
  /** Where the newest known message is in the log; 0 when there is none. */
  position(): bigint;
}

/** Starts with what came with the claim. Messages that a base run has taken were said to the base run. */
export function createInbox({ messages, recordedSteps }: Claim): Inbox {
  const byThread = new Map<string, Map<number, InboxMessage>>();
  const takenCounts = new Map<string, number>();
  let position = 0n;
  const taken = (threadId: string) => takenCounts.get(threadId) ?? 0;

  function count(threadId: string): void {
    takenCounts.set(threadId, taken(threadId) + 1);
  }

  function add(more: readonly InboxMessage[]): void {
    for (const message of more) {
      const thread = byThread.get(message.threadId) ?? new Map<number, InboxMessage>();
      byThread.set(message.threadId, thread.set(message.number, message));
      if (message.position > position) position = message.position;
    }
  }

  add(messages);
  for (const step of recordedSteps) {
    const { command, end } = entryOfStep(step);
    if (command.kind === "message" && end?.outcome.ok && step.reusedFromRunId === "") count(step.threadId);
  }
  return {
    take(threadId) {
      const message = byThread.get(threadId)?.get(taken(threadId) + 1);
      if (message !== undefined) count(threadId);
      return message;
    },
    taken,
    add,
    position: () => position,
  };
}
