import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ArtifactSpecSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import { UploadHeaderSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { derivedId } from "../../src/kernel/ids.ts";
import { describeViolations } from "../support/invariants.ts";
import { createSeeded } from "../support/seeded.ts";
import { mutants } from "./artifacts/mutants.ts";
import { type Mutant, runProgram, startServer } from "./artifacts/program.ts";
import { createTurns } from "./artifacts/turns.ts";
import { callIn, openArtifactWorld } from "./artifacts/world.ts";

const seeds = Number(process.env["SIGNALBOX_ARTIFACT_SEEDS"] ?? 200);
const firstSeed = Number(process.env["SIGNALBOX_ARTIFACT_SEED"] ?? 1);

test(
  `${seeds} programs of two servers, from seed ${firstSeed} on, leave every artifact whole and nothing besides`,
  { timeout: 3_600_000 },
  async () => {
    const totals = new Map<string, number>();
    const wrong: string[] = [];
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      const outcome = await runProgram(seed);
      for (const [name, times] of outcome.counts) totals.set(name, (totals.get(name) ?? 0) + times);
      if (outcome.wrong !== "") wrong.push(`seed ${seed}: ${outcome.wrong}`);
    }
    expect(wrong.join("\n")).toBe("");
    const rare = common.filter((name) => (totals.get(name) ?? 0) < seeds / 25);
    expect(rare).toEqual([]);
  },
);

/** What has to happen for the programs to mean something. */
const common = [
  "kill",
  "upload",
  "upload in chunks",
  "read",
  "delete",
  "delete for ever",
  "restore",
  "hold",
  "release",
  "sweep",
  "sweep of orphans",
  "rotate",
  "upload REQUEST_ID_REUSED",
  "read ARTIFACT_EXPIRED",
];

test.for(mutants)("programs show that it is wrong when $when", { timeout: 60_000 }, async (options) => {
  for (let seed = 1; seed <= 1_500; seed++) if ((await runProgram(seed, options)).wrong.includes("I9 ")) return;
  expect.unreachable("no program showed it");
});

/** An upload was given up after its key was issued; a day later it is taken up again, just when the sweep comes for that key. */
async function takeUpAgain(seed: number, mutant?: Mutant): Promise<string> {
  const workspaceId = "ws_again";
  const turns = createTurns(createSeeded(seed));
  const world = openArtifactWorld();
  await world.keys.issue(workspaceId, derivedId("art", workspaceId, "artifact", "", "report"));
  world.clock.pass(26 * 60 * 60_000);
  const [one, other] = [0, 1].map((index) => startServer(world, turns, index, mutant));
  if (one === undefined || other === undefined) throw new Error("two servers are needed");
  const header = create(UploadHeaderSchema, {
    requestId: "report",
    spec: create(ArtifactSpecSchema, { name: "report.txt" }),
  });
  const uploaded = one.server.uploads.upload(callIn(workspaceId), header, new Blob(["hello"]).stream());
  await turns.run([
    { process: one.process, done: uploaded },
    { process: other.process, done: other.server.sweepOrphans() },
  ]);
  return describeViolations([...world.early, ...(await world.check())]);
}

test("an upload that is taken up again during the sweep of orphans keeps its key", async () => {
  for (let seed = 1; seed <= 200; seed++) expect(await takeUpAgain(seed), `seed ${seed}`).toBe("");
  const hasty: Mutant = () => ({
    spoilKeys: (keys) => ({ ...keys, destroy: (workspaceId, artifactId) => keys.destroy(workspaceId, artifactId) }),
  });
  const wrong: string[] = [];
  for (let seed = 1; seed <= 200; seed++) wrong.push(await takeUpAgain(seed, hasty).catch(() => ""));
  expect(wrong.filter((each) => each.includes("its key is destroyed")).length).toBeGreaterThan(0);
});
