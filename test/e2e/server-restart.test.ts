import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";
import { follow, type SignalboxClient } from "../../src/client/client.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createAndClaim } from "./claims.ts";
import { refusal } from "./refusal.ts";
import { polled, subscribed, texts } from "./subscribed.ts";

const installation = await openInstallation({ servers: 2 });
afterAll(() => installation[Symbol.asyncDispose]());
const [first, second] = installation.servers;

const createRuns = (client: SignalboxClient, count: number) =>
  Promise.all(Array.from({ length: count }, () => client.runs.createRun({ handler: "nobody" })));

describe("a server that shuts down", () => {
  test("tells its subscribers, and follow() resumes when it is back, without gap or repeat", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ baseUrl: first!.url, workspaceId });
    const other = installation.client({ baseUrl: second!.url, workspaceId });
    const seen: Event[] = [];
    const retries: unknown[] = [];
    const stop = new AbortController();
    const following = (async () => {
      const options = { signal: stop.signal, onRetry: (error: unknown) => void retries.push(error) };
      for await (const event of follow(client, options)) seen.push(event);
    })();
    await createRuns(other, 10);
    await until(() => seen.length === 10, { what: "the first events" });
    await using raw = await subscribed(client, { fromPosition: seen[9]!.position });
    const stopping = first!.stop();
    const drained = raw.ended.then((error) => Promise.reject(error as Error));
    expect(await refusal(drained)).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
    await stopping;
    await createRuns(other, 10);
    await until(() => retries.length > 1, { what: "some attempts in vain" });
    await first!.start();
    await createRuns(other, 10);
    await until(() => seen.length >= 30, { what: "all events" });
    stop.abort();
    await following;
    expect(texts(seen)).toEqual(texts(await polled(other)));
  });

  test("does not end a follow() of a run; its end does", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ baseUrl: first!.url, workspaceId });
    const other = installation.client({ baseUrl: second!.url, workspaceId });
    const { run, leaseToken } = await createAndClaim(other);
    const seen: string[] = [];
    const following = (async () => {
      for await (const { type } of follow(client, { filter: { runId: run.runId } })) seen.push(type);
    })();
    await until(() => seen.length === 2, { what: "the events on record" });
    await first!.stop();
    await other.engine.completeRun({ leaseToken });
    await first!.start();
    await following;
    expect(seen).toEqual(["run.created", "run.claimed", "run.succeeded"]);
  });

  test("answers who waits for a run with the run as it is", async () => {
    const workspaceId = newWorkspaceId();
    const client = installation.client({ baseUrl: second!.url, workspaceId });
    const { run } = await client.runs.createRun({ handler: "nobody" });
    const waiting = client.runs.waitRun({ runId: run?.runId ?? "" });
    const claiming = client.engine.claimRun({ handlers: ["by_hand"], workerId: "w" });
    await client.runs.getRun({ runId: run?.runId ?? "" });
    await second!.stop();
    await second!.start();
    expect((await waiting).run).toEqual(run);
    expect((await claiming).run).toBeUndefined();
  });
});
