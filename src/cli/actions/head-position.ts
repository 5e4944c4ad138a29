import type { SignalboxClient } from "../../client/client.ts";

/** The newest position of the log. Throws when no server answers. */
export async function headPosition(client: Pick<SignalboxClient, "events">, signal: AbortSignal): Promise<bigint> {
  const enough = new AbortController();
  try {
    const frames = client.events.subscribe({}, { signal: AbortSignal.any([signal, enough.signal]) });
    for await (const { frame } of frames) {
      if (frame.case === "ready") return frame.value.headPosition;
    }
    throw new Error("the server ended a subscription without a word");
  } finally {
    enough.abort();
  }
}
