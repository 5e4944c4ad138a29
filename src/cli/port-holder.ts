import { once } from "node:events";
import { connect } from "node:net";

const timeoutMs = 2_000;

/** Who listens on a port: nobody, a Signalbox, or another program. A host that stands for all addresses means this machine. */
export async function portHolder(host: string, port: number): Promise<"nobody" | "signalbox" | "other"> {
  const target = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  if (!(await answers(target, port))) return "nobody";
  try {
    const url = `http://${target.includes(":") ? `[${target}]` : target}:${port}/`;
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    return (await response.text()).startsWith("Signalbox") ? "signalbox" : "other";
  } catch {
    // Whatever it is, it does not speak HTTP.
    return "other";
  }
}

/** What to do about a port that is taken. */
export function portHint(port: number, holder: "signalbox" | "other"): string {
  return holder === "signalbox"
    ? `A Signalbox listens there already: use it, stop it, or set SIGNALBOX_PORT to another port (0 for any).`
    : `\`lsof -i :${port}\` names the program that listens there: stop it, or set SIGNALBOX_PORT to another port (0 for any).`;
}

async function answers(host: string, port: number): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(timeoutMs) });
    return true;
  } catch {
    // Refused, or no answer in time: nobody who could be in the way.
    return false;
  } finally {
    socket.destroy();
  }
}
