import { expect, test } from "vitest";
import { IncidentKindSchema } from "../../gen/signalbox/v1/incident_pb.ts";
import { wireIncidents } from "../../src/cli/incidents.ts";
import { allProjections } from "../../src/cli/serve.ts";
import { createAggregates } from "../../src/eventlog/aggregates.ts";
import { openFeed } from "../../src/eventlog/feed.ts";
import { runIncidentReactor } from "../../src/incidents/reactor.ts";
import { systemClock as clock } from "../../src/kernel/clock.ts";
import { enumName } from "../../src/kernel/enum-name.ts";
import { randomIds as ids } from "../../src/kernel/ids.ts";
import { createPositions } from "../../src/readmodel/positions.ts";
import { runProjector } from "../../src/readmodel/projector-loop.ts";
import { runAggregate } from "../../src/runs/state.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { newWorkspaceId } from "../support/installation.ts";
import { until } from "../support/until.ts";

/** A process with reactors that lose their patience with the read models early. */
async function openReactors(backend: TestBackend) {
  const { log: eventLog, nats, postgres, schema, prefix, logger: log } = backend;
  await using opening = new AsyncDisposableStack();
  const feed = opening.use(await openFeed(eventLog, log));
  const positions = opening.use(createPositions({ nats, postgres, subject: `${prefix}.projected` }));
  const aggregates = createAggregates(runAggregate, { log: eventLog, clock, ids });
  const parts = { ...backend, feed, positions, aggregates };
  const { incidents: reports, findRun } = opening.use(wireIncidents(parts, { log }));
  const common = { postgres, schema, feed, log };
  const react = (signal: AbortSignal) =>
    runIncidentReactor({ ...common, eventLog, reports, findRun, clock, stallMs: 300, signal });
  opening.use(background(react));
  const open = opening.move();
  return {
    /** A projector that works until it is disposed. */
    project: () => background((signal) => runProjector({ ...common, positions, projections: allProjections, signal })),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

function background(run: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
  const stop = new AbortController();
  const running = run(stop.signal);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

/** What the log says of incidents, by workspace. */
async function incidentsIn({ log }: TestBackend): Promise<Map<string, string[]>> {
  const { head } = await log.bounds();
  const found = new Map<string, string[]>();
  for await (const { event } of log.read(log.subjects.all, 0n, head)) {
    if (event.stream?.type !== "incident") continue;
    const kind =
      event.payload.case === "incidentOpened" ? `:${enumName(IncidentKindSchema, event.payload.value.kind)}` : "";
    found.set(event.workspaceId, [...(found.get(event.workspaceId) ?? []), `${event.type}${kind}`]);
  }
  return found;
}

test("read models that stand still are an incident where somebody waits for them: once a stall, whoever starts anew", async () => {
  await using backend = await openTestBackend();
  const appender = createAppender(backend.log);
  const workspaces = [newWorkspaceId(), newWorkspaceId()];
  const append = (workspaceId: string) => appender.append({ id: ids.next("run"), workspaceId });
  const stalled = "incident.opened:PROJECTOR_STALLED";
  const expected = (...types: string[]) => new Map(workspaces.map((each) => [each, types]));
  const sameAs = (types: Map<string, string[]>) =>
    until(async () => canonical(await incidentsIn(backend)) === canonical(types), {
      what: "the incidents of the stall",
    });
  for (const workspaceId of [...workspaces, ...workspaces]) await append(workspaceId);
  {
    await using _reactors = await openReactors(backend);
    await sameAs(expected(stalled));
  }
  await using reactors = await openReactors(backend);
  {
    // Healed: the tables reach the end of the log.
    await using _projector = reactors.project();
    const { head } = await backend.log.bounds();
    await until(async () => (await checkpoint(backend)) >= head, { what: "the tables to reach the end of the log" });
  }
  expect(await incidentsIn(backend)).toEqual(expected(stalled));
  for (const workspaceId of workspaces) await append(workspaceId);
  await sameAs(expected(stalled, "incident.recurred"));
});

function canonical(types: Map<string, string[]>): string {
  return JSON.stringify([...types].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function checkpoint({ postgres }: TestBackend): Promise<bigint> {
  const text = "select position from checkpoints where name = 'projector'";
  const { rows } = await postgres.db.query<{ position: bigint }>({ name: "checkpoint_test", text });
  return rows[0]?.position ?? 0n;
}
