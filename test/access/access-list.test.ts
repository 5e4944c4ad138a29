import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ArtifactLinkCreatedSchema } from "../../gen/signalbox/v1/artifact_event_pb.ts";
import { AccessMethod, AccessOutcome, ArtifactAccessSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { type ListAccessRequest, ListAccessRequestSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { createAccessList } from "../../src/access/access-list.ts";
import { createAccessLog } from "../../src/access/access-log.ts";
import { accessProjections } from "../../src/access/projection.ts";
import { findLink } from "../../src/access/queries.ts";
import { artifactAggregate } from "../../src/artifacts/state.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { sha256 } from "../../src/kernel/digest.ts";
import { derivedId, randomIds as ids } from "../../src/kernel/ids.ts";
import { openFeed } from "../../src/eventlog/feed.ts";
import { createPositions, type Positions } from "../../src/readmodel/positions.ts";
import { runProjector } from "../../src/readmodel/projector-loop.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { callBy } from "./fixture.ts";

const [a, b] = [derivedId("art", "a"), derivedId("art", "b")];
const run = derivedId("run", "r");
const { GRANTED, REFUSED, NOT_FOUND } = AccessOutcome;
const digest = sha256(Buffer.from("token"));
const opened = new AsyncDisposableStack();

let backend: TestBackend;
let positions: Positions;
let head: bigint;

beforeAll(async () => {
  backend = opened.use(await openTestBackend());
  const { log, nats, postgres, schema, logger, prefix } = backend;
  const feed = opened.use(await openFeed(log, logger));
  positions = opened.use(createPositions({ nats, postgres, subject: `${prefix}.projected` }));
  const stop = new AbortController();
  const projector = runProjector({
    postgres,
    schema,
    feed,
    positions,
    log: logger,
    projections: accessProjections,
    signal: stop.signal,
  });
  opened.defer(async () => {
    stop.abort();
    await projector;
  });
  const accessLog = createAccessLog({ log, clock, ids });
  const line = (artifactId: string, outcome: AccessOutcome, runId = "", workspaceId = "ws_a") => {
    const access = create(ArtifactAccessSchema, {
      artifactId,
      outcome,
      runId,
      method: AccessMethod.DOWNLOAD,
      offset: 3n,
    });
    return accessLog.append({ ...callBy("user:alice"), workspaceId }, access);
  };
  await line(a, GRANTED, run);
  await line(a, REFUSED, run);
  await line(b, NOT_FOUND);
  await line(a, GRANTED, "", "ws_b");
  const aggregates = createAggregates(artifactAggregate, { log, clock, ids });
  const value = create(ArtifactLinkCreatedSchema, { linkId: derivedId("link", "l"), tokenDigest: digest });
  const { position } = await aggregates.execute({
    call: callBy("user:alice"),
    id: b,
    creation: { roomId: "", repeatable: false },
    decide: () => ({ payload: { case: "artifactLinkCreated", value }, zone: Zone.SANDBOX }),
  });
  head = position;
});

afterAll(() => opened.disposeAsync());

async function list(changes: Partial<ListAccessRequest> = {}, workspaceId = "ws_a") {
  const request = create(ListAccessRequestSchema, { minPosition: head, ...changes } as ListAccessRequest);
  const accessList = createAccessList({ db: backend.postgres.db, positions });
  return accessList.list({ ...callBy("user:bob"), workspaceId }, request);
}

describe("the access log", () => {
  test("is listed newest first, with what its events say", async () => {
    const { accesses, nextPageToken } = await list();
    expect(accesses.map(({ artifactId, outcome }) => [artifactId, outcome])).toEqual([
      [b, NOT_FOUND],
      [a, REFUSED],
      [a, GRANTED],
    ]);
    expect(nextPageToken).toBe("");
    const [newest] = accesses;
    expect(newest?.accessId).toMatch(/^[0-9a-f-]{36}$/);
    expect(newest).toMatchObject({ position: 3n, offset: 3n });
    expect(newest?.createTime).toBeDefined();
  });

  test.each([
    [{ artifactId: a }, 2],
    [{ runId: run }, 2],
    [{ outcomes: [GRANTED] }, 1],
    [{ artifactId: a, outcomes: [NOT_FOUND] }, 0],
    [{ artifactId: a, outcomes: [REFUSED, GRANTED], runId: run }, 2],
  ])("is filtered by %j", async (filter, count) => {
    expect((await list(filter as Partial<ListAccessRequest>)).accesses).toHaveLength(count);
  });

  test("is listed in pages", async () => {
    const first = await list({ pageSize: 2 });
    const rest = await list({ pageSize: 2, pageToken: first.nextPageToken });
    expect([first.accesses.length, rest.accesses.length, rest.nextPageToken]).toEqual([2, 1, ""]);
  });

  test("is each workspace's own", async () => {
    expect((await list({}, "ws_b")).accesses).toMatchObject([{ artifactId: a, outcome: GRANTED }]);
    expect((await list({}, "ws_c")).accesses).toEqual([]);
  });
});

test("a link is found by the digest of its token, in whatever workspace", async () => {
  await list();
  const { db } = backend.postgres;
  expect(await findLink(db, digest)).toEqual({ workspaceId: "ws_a", artifactId: b });
  expect(await findLink(db, sha256(Buffer.from("other")))).toBeUndefined();
});
