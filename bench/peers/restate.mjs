// Restate: its server as the npm package brings it, one service endpoint, called through its HTTP ingress.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Agent, request } from "node:http";
import { once } from "node:events";
import { answerQuestions } from "../support/answer.ts";
import { createBoard, submitMany, submitOneByOne } from "../support/submit.ts";
import { steps } from "./work.mjs";

// Read when the SDK is loaded: a line for every call would be measured too.
process.env.RESTATE_LOGGING = "ERROR";
const restate = await import("@restatedev/restate-sdk");

const resources = new AsyncDisposableStack();
const board = createBoard();
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
let ingress;
let number = 0;

const service = restate.service({
  name: "bench",
  handlers: {
    echo: async (_ctx, input) => input,
    steps: async (ctx, input) => {
      for (let step = 1; step <= steps; step++) await ctx.run(`step-${step}`, async () => step);
      return input;
    },
  },
});

const functions = {
  async open() {
    const folder = await mkdtemp(join(tmpdir(), "signalbox-bench-restate-"));
    resources.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const [ingressPort, adminPort, nodePort] = await Promise.all([freePort(), freePort(), freePort()]);
    const server = spawn(binary(), ["--base-dir", folder], {
      stdio: "ignore",
      env: {
        ...process.env,
        RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingressPort}`,
        RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${adminPort}`,
        RESTATE_BIND_ADDRESS: `127.0.0.1:${nodePort}`,
        RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${nodePort}`,
        RESTATE_DISABLE_TELEMETRY: "true",
      },
    });
    resources.defer(async () => {
      server.kill("SIGTERM");
      if (server.exitCode === null) await once(server, "exit");
    });
    ingress = ingressPort;
    const endpoint = await restate.serve({ services: [service], port: 0 });
    await until(() => fetch(`http://127.0.0.1:${adminPort}/health`).then((answer) => answer.ok));
    const deployment = await fetch(`http://127.0.0.1:${adminPort}/deployments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: `http://127.0.0.1:${endpoint}` }),
    });
    if (!deployment.ok) throw new Error(`restate refuses the deployment: ${await deployment.text()}`);
    await until(() => call("echo").then(() => true));
  },
  one: ({ work, count }) => submitOneByOne(submissions(work, count)),
  many: ({ work, count, concurrency }) => submitMany(submissions(work, count), concurrency),
};

// The call through the ingress answers when the invocation is done: submission and end in one.
function submissions(work, count) {
  return {
    board,
    count,
    submit: async () => {
      await call(work);
      const id = String(++number);
      board.finish(id);
      return id;
    },
  };
}

async function call(work) {
  const asking = request({
    agent,
    host: "127.0.0.1",
    port: ingress,
    path: `/bench/${work}`,
    method: "POST",
    headers: { "content-type": "application/json" },
  });
  asking.end('{"number":7}');
  const [answer] = await once(asking, "response");
  answer.resume();
  await once(answer, "end");
  if (answer.statusCode !== 200) throw new Error(`restate answers ${answer.statusCode}`);
}

function binary() {
  const require = createRequire(createRequire(import.meta.url).resolve("@restatedev/restate-server/package.json"));
  const folder = dirname(
    require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/package.json`),
  );
  return join(folder, "bin", "restate-server");
}

async function freePort() {
  const { createServer } = await import("node:net");
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

async function until(condition) {
  for (let tries = 0; tries < 300; tries++) {
    if (await condition().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("restate did not become ready within 30 s");
}

answerQuestions(functions, resources);
