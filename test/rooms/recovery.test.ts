import { afterAll, expect, test } from "vitest";
import { allProjections, type Role } from "../../src/cli/serve.ts";
import { jsonValue } from "../../src/client/client.ts";
import { verify } from "../../src/readmodel/verify.ts";
import { claim } from "../e2e/claims.ts";
import { headPosition } from "../e2e/subscribed.ts";
import { openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { addAgent, createRoom, messagesOf, newWorkspace, say } from "./people.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());

const [server] = installation.servers;
const withoutReactors: ReadonlySet<Role> = new Set(["server", "projector"]);

async function restart(roles?: ReadonlySet<Role>): Promise<void> {
  await server!.stop();
  await server!.start(roles);
}

test("what nobody reacted to is mended: a mention without its run, and an end without its answer, each once", async () => {
  const alice = newWorkspace(installation).as("alice");
  const { roomId } = await createRoom(alice);
  await addAgent(alice, roomId, "slow");
  await restart(withoutReactors);
  const { mentions } = await say(alice, roomId, "@slow are you there?");
  const gone = await say(alice, roomId, "@slow never mind");
  await alice.rooms.redactMessage({ messageId: gone.messageId });
  const runs = async () => (await alice.runs.listRuns({ roomId, minPosition: await headPosition(alice) })).runs;
  expect(await runs()).toEqual([]);

  await restart();
  const { run, leaseToken } = await claim(alice, "slow");
  expect(run.runId).toBe(mentions[0]?.runId);

  await restart(withoutReactors);
  await alice.engine.completeRun({ leaseToken, output: jsonValue("yes") });
  expect(await messagesOf(alice, roomId)).toHaveLength(2);

  await restart();
  await until(async () => (await messagesOf(alice, roomId)).length > 2, { what: "the answer" });
  await restart();
  // A second question shows that the sweep of the new start is over.
  await say(alice, roomId, "@slow once more");
  await alice.engine.completeRun({
    leaseToken: (await claim(alice, "slow")).leaseToken,
    output: jsonValue("yes again"),
  });
  await until(async () => (await messagesOf(alice, roomId)).length > 4, { what: "the second answer" });
  const said = (await messagesOf(alice, roomId)).map(({ text }) => text);
  expect(said).toEqual(["@slow are you there?", "", "yes", "@slow once more", "yes again"]);
  expect(await runs()).toHaveLength(2);
}, 90_000);

test("the tables are what the log says", async () => {
  const { log, postgres, schema } = installation.backend;
  const verification = await verify({ log, postgres, schema, projections: allProjections });
  expect(verification.differences).toEqual([]);
  expect(verification.events).toBeGreaterThan(10);
});
