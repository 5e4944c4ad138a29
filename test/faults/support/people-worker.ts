// A worker with the handler `writer` that is killed at the point that KILLED_AT names. Runs until then.
import { flushCompileCache } from "node:module";
import type { Transport } from "@connectrpc/connect";
import { createSignalboxClient } from "../../../src/client/client.ts";
import { openNodeTransport } from "../../../src/client/node-transport.ts";
import { createWorker } from "../../../src/engine/worker.ts";
import { mailTool, writer } from "./post-office.ts";

const { SIGNALBOX_URL: baseUrl = "", SIGNALBOX_WORKSPACE: workspaceId, MAIL_FILE = "", KILLED_AT = "" } = process.env;

/** Kills the process when this is where. The points of calls have a number: `before StartToolCall 2`. */
function pass(point: string): void {
  if (point === KILLED_AT) process.kill(process.pid, "SIGKILL");
}

const counts = new Map<string, number>();

/** The transport that passes a point before each unary call, and another one once it has its answer, a refusal included. */
function pointed(transport: Transport): Transport {
  return {
    stream: (...call) => transport.stream(...call),
    async unary(method, ...call) {
      const count = (counts.get(method.name) ?? 0) + 1;
      counts.set(method.name, count);
      pass(`before ${method.name} ${count}`);
      const answer = transport.unary(method, ...call);
      await answer.catch(() => undefined);
      pass(`after ${method.name} ${count}`);
      return answer;
    },
  };
}

// Who is killed writes no cache at its end.
flushCompileCache();
const client = createSignalboxClient({ transport: pointed(openNodeTransport({ baseUrl }).transport), workspaceId });
await createWorker({ client, handlers: { writer }, tools: [mailTool(MAIL_FILE, pass)], concurrency: 1 }).run();
