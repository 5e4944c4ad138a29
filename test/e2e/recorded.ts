import { expect } from "vitest";
import { PrincipalType } from "../../gen/signalbox/v1/common_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { refusal, type Refusal } from "./refusal.ts";
import { headPosition } from "./subscribed.ts";

/**
 * What callers have recorded in the workspace behind a position, in order. What Signalbox does by itself is left out: it comes
 * when it comes.
 */
export async function recordedSince(client: SignalboxClient, afterPosition: bigint): Promise<Event[]> {
  const minPosition = await headPosition(client);
  const { events } = await client.events.listEvents({ afterPosition, minPosition, pageSize: 200 });
  return events.filter(({ actor }) => !(actor?.type === PrincipalType.SERVICE && actor.id === "signalbox"));
}

/** The refusal of a call that has recorded nothing. */
export async function vainly(client: SignalboxClient, call: () => Promise<unknown>): Promise<Refusal> {
  const before = await headPosition(client);
  const refused = await refusal(call());
  expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual([]);
  return refused;
}

/** The answer to a call that had nothing to record. */
export async function quietly<T>(client: SignalboxClient, call: () => Promise<T>): Promise<T> {
  const before = await headPosition(client);
  const answer = await call();
  expect((await recordedSince(client, before)).map(({ type }) => type)).toEqual([]);
  return answer;
}

/** The reasons for which each of these calls is refused, once it is certain that none of them has recorded anything. */
export async function reasons(client: SignalboxClient, calls: Record<string, () => Promise<unknown>>) {
  const found: Record<string, string | undefined> = {};
  for (const [name, call] of Object.entries(calls)) found[name] = (await vainly(client, call)).reason;
  return found;
}

/** The same reason for all of them. */
export function allOf(names: readonly string[], reason: string): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, reason]));
}
