import type { ClientBase } from "pg";
import { describe, expect, test } from "vitest";
import { allProjections } from "../../src/cli/serve.ts";
import type { LogStore } from "../../src/eventlog/log-store.ts";
import type { LeaseTicket } from "../../src/jobs/lease-token.ts";
import { createProjector } from "../../src/readmodel/projector.ts";
import { verify } from "../../src/readmodel/verify.ts";
import type { RunState } from "../../src/runs/state.ts";
import { createAppender } from "../support/appender.ts";
import { openTestBackend, type TestBackend } from "../support/backend.ts";
import { checkInvariants, type Violation } from "../support/invariants.ts";
import { checkReadModels } from "../support/invariants/read-models.ts";
import type { FencingParts, Mutant } from "./simulation/server.ts";
import { simulate } from "./simulation/simulation.ts";

/** The invariants that a mutant is seen to break in the first histories, up to the history that shows the one looked for. */
async function broken(mutant: Mutant, histories: number, lookFor?: string): Promise<Set<string>> {
  const found = new Set<string>();
  for (let seed = 1; seed <= histories && !(lookFor && found.has(lookFor)); seed++) {
    for (const { invariant } of checkInvariants(await simulate(seed, mutant))) found.add(invariant);
  }
  return found;
}

/** Decides as if the lease that a worker names were the one that holds. */
function withoutFence({ tokens, aggregates }: FencingParts): FencingParts {
  let named: LeaseTicket | undefined;
  return {
    tokens: { ...tokens, open: (token, workspaceId) => (named = tokens.open(token, workspaceId)) },
    aggregates: {
      load(...key) {
        named = undefined;
        return aggregates.load(...key);
      },
      cached: aggregates.cached,
      execute(command) {
        const ticket = named;
        named = undefined;
        if (ticket?.runId !== command.id) return aggregates.execute(command);
        return aggregates.execute({
          ...command,
          decide: (state, now) => command.decide(underLease(state, ticket.leaseId), now),
        });
      },
    },
  };
}

function underLease(state: RunState, leaseId: string): RunState {
  if (state.status !== "running" || state.lease === undefined) return state;
  return { ...state, lease: { ...state.lease, leaseId } };
}

/** Takes every message, whatever its writer expects. */
function withoutExpectation(store: LogStore): LogStore {
  const publish = store.publish;
  return { ...store, publish: (publication) => publish({ ...publication, filter: "nothing", expectPosition: 0n }) };
}

describe("the checker finds out", { timeout: 60_000 }, () => {
  test("a decider that takes any lease", async () => {
    expect(await broken({ fencing: withoutFence }, 100, "I5")).toContain("I5");
  });

  test("a log that ignores what its writers expect", async () => {
    expect(await broken({ store: withoutExpectation }, 100, "I3")).toContain("I3");
  });

  test("a checkpoint that is written outside of the transaction", async () => {
    await using backend = await openTestBackend();
    expect(await projectOverCrash(backend, outsideTransaction)).not.toEqual([]);
  });
});

test(
  "the checker has nothing to say of the same histories and crash without a mutant",
  { timeout: 60_000 },
  async () => {
    await using backend = await openTestBackend();
    expect(await broken({}, 20)).toEqual(new Set());
    expect(await projectOverCrash(backend, (client) => client)).toEqual([]);
  },
);

/** Projects a log with a crash right before a commit; `mutate` may spoil the client that crashes. Returns what I7 says. */
async function projectOverCrash(
  { postgres, log, schema }: TestBackend,
  mutate: (client: ClientBase, other: ClientBase) => ClientBase,
): Promise<Violation[]> {
  const appender = createAppender(log);
  for (let number = 0; number < 6; number++) await appender.append({ id: `run_${number % 2}` });
  const records = await Array.fromAsync(log.read(log.subjects.all, 0n, (await log.bounds()).head));

  await postgres.withClient(async (client) => {
    await postgres.withClient(async (other) => {
      await createProjector(client, allProjections).apply(records.slice(0, 2));
      const crashing = mutate(beforeCommit(client), other);
      await expect(createProjector(crashing, allProjections).apply(records.slice(2, 4))).rejects.toThrow("crashed");
    });
  });
  await postgres.withClient(async (client) => {
    const projector = createProjector(client, allProjections);
    const position = await projector.checkpoint();
    await projector.apply(records.filter((record) => record.position > position));
  });
  return checkReadModels(await verify({ postgres, log, projections: allProjections, schema }));
}

type Query = string | { readonly name?: string; readonly text: string; readonly values?: unknown[] };

/** A client whose queries go through `query`. */
function intercept(
  client: ClientBase,
  query: (query: Query, pass: (query: Query) => Promise<unknown>) => Promise<unknown>,
) {
  const pass = (statement: Query) => (client.query as (statement: Query) => Promise<unknown>).call(client, statement);
  return new Proxy(client, {
    get: (target, property) =>
      property === "query" ? (statement: Query) => query(statement, pass) : (Reflect.get(target, property) as unknown),
  });
}

/** Its process dies when everything but the commit is done. */
function beforeCommit(client: ClientBase): ClientBase {
  return intercept(client, (statement, pass) =>
    statement === "commit" ? Promise.reject(new Error("crashed")) : pass(statement),
  );
}

/** Reads and writes the checkpoint over another connection, where it counts at once. */
function outsideTransaction(client: ClientBase, other: ClientBase): ClientBase {
  return intercept(client, (statement, pass) => {
    const isCheckpoint = typeof statement === "object" && statement.name?.startsWith("checkpoint_");
    return isCheckpoint
      ? (other.query as (statement: Query) => Promise<unknown>).call(other, statement)
      : pass(statement);
  });
}
