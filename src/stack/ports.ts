import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { StackError } from "./stack-error.ts";

// Below the ranges from which Linux (32768) and macOS and Windows (49152) take the ports of outgoing connections. A client
// that keeps dialling a closed port inside such a range can be given that very port, connects to itself, and then keeps the
// restarted server off it.
const firstPort = 20_000;
const lastPort = 32_767;
const attempts = 100;

/**
 * A TCP port of 127.0.0.1 on which nobody listens at this moment, none of those excepted.
 * @throws StackError when the range 20000–32767 is as good as full.
 */
export async function freePort(...except: number[]): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port = randomInt(firstPort, lastPort + 1);
    if (!except.includes(port) && (await isFree(port))) return port;
  }
  throw new StackError(
    `no free port was found on 127.0.0.1 between ${firstPort} and ${lastPort}`,
    "Stop programs that listen there, or set NATS_URL and DATABASE_URL to servers of your own.",
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen({ port, host: "127.0.0.1", exclusive: true });
  try {
    await once(server, "listening");
  } catch {
    // Whatever the reason (taken, reserved), this port is not the one.
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
