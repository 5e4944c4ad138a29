import { create } from "@bufbuild/protobuf";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test } from "vitest";
import { DeltaSchema, type RunDelta } from "../../gen/signalbox/v1/delta_pb.ts";
import { openDeltas } from "../../src/deltas/deltas.ts";
import { openNats } from "../../src/eventlog/nats.ts";
import { findNatsServer } from "../../src/stack/nats-binary.ts";
import { freePort } from "../../src/stack/ports.ts";
import { dyingWithUs } from "../../src/stack/setpriv.ts";
import { answers200, createProcess, program } from "../support/processes.ts";
import { until } from "../support/until.ts";

const log = pino({ level: "silent" });

/** A NATS server of a test's own, which may be killed. */
async function openKillable() {
  await using opening = new AsyncDisposableStack();
  const { path: folder } = opening.use(await mkdtempDisposable(join(tmpdir(), "signalbox-deltas-")));
  const [port, monitor] = [await freePort(), await freePort()];
  const config = join(folder, "nats.conf");
  await writeFile(
    config,
    `listen: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitor}"\njetstream { store_dir: ${folder} }\n`,
  );
  const { path: file } = await findNatsServer({ env: process.env, binDir: join(folder, "bin"), log });
  const command = await dyingWithUs({ file, args: ["-c", config] }, "SIGKILL");
  const isReady = () => answers200(`http://127.0.0.1:${monitor}/healthz`);
  const server = opening.use(createProcess({ ...program(folder, "nats", command), isReady }));
  await server.start();
  const open = opening.move();
  return { url: `nats://127.0.0.1:${port}`, server, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

test("output goes on after NATS was killed and has come back without anything in memory", async () => {
  await using killable = await openKillable();
  await using nats = await openNats({ url: killable.url, name: "deltas", log });
  await using deltas = await openDeltas({ nats, stream: "DELTAS", prefix: "sb", log });
  const run = { workspaceId: "ws_test", roomId: "", runId: "run_1", attempt: 1, createTime: new Date() };
  const view = { workspaceId: "ws_test", runId: "run_1" };
  let index = 0;
  const publish = () => deltas.publish(run, [create(DeltaSchema, { stepKey: "a", index: index++, text: "." })]);
  const taken: RunDelta[] = [];
  using early = deltas.subscribe(view, () => taken.push(...[early.take()].filter((piece) => piece !== undefined)));
  for (let piece = 0; piece < 20; piece++) publish();
  await until(() => taken.at(-1)?.delta?.index === 19, { what: "output before the restart" });

  await killable.server.kill();
  publish();
  await killable.server.start();
  const restart = index;
  // The numbers of the new stream begin below those of the old one.
  const goesOn = () => {
    publish();
    return (taken.at(-1)?.delta?.index ?? 0) >= restart;
  };
  await until(goesOn, { what: "output after the restart" });
  const late: RunDelta[] = [];
  using subscription = deltas.subscribe(view, () =>
    late.push(...[subscription.take()].filter((piece) => piece !== undefined)),
  );
  await until(() => late.some(({ delta }) => (delta?.index ?? 0) >= restart), {
    what: "what is kept after the restart",
  });
  const indexes = taken.map(({ delta }) => delta?.index ?? 0);
  expect(indexes).toEqual([...new Set(indexes)].toSorted((a, b) => a - b));
});
