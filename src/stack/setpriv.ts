import { access, constants, readFile, realpath, stat } from "node:fs/promises";
import { basename } from "node:path";
import { StackError } from "./stack-error.ts";

/** A program and its arguments. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** The user and group that a program gets in place of root. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

// util-linux puts it there on every distribution (Debian: an essential package).
const setprivPath = "/usr/bin/setpriv";

/**
 * The same command, told to end with `deathSignal` when this process dies without saying goodbye (Linux). Unchanged where
 * util-linux' setpriv is missing: then the next start on the data folder stops what was left behind.
 */
export async function dyingWithUs(command: Command, deathSignal: NodeJS.Signals): Promise<Command> {
  if (!(await hasSetpriv())) return command;
  return setpriv(command, [pdeathsig(deathSignal)]);
}

/**
 * The same command as `dyingWithUs` gives, run by another user. That user may read what root may read: the program and its
 * data can lie below a folder that only root may enter, such as /root.
 * @throws StackError when this machine or container offers no way to do so.
 */
export async function asUser(command: Command, user: User, deathSignal: NodeJS.Signals): Promise<Command> {
  const capability = (await hasSetpriv()) ? await readingCapability(command.file) : undefined;
  if (capability === undefined) {
    throw new StackError(
      "Postgres refuses to run as root, and root cannot be given up here (needs Linux, setpriv of util-linux and CAP_DAC_OVERRIDE)",
      "Start signalbox as a normal user, or set DATABASE_URL to a Postgres of your own.",
    );
  }
  return setpriv(command, [
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    // Postgres asks access(2) about its own files, which ignores capabilities of a user other than root without this bit.
    "--securebits=+no_setuid_fixup",
    `--inh-caps=-all,+${capability}`,
    `--ambient-caps=-all,+${capability}`,
    `--bounding-set=-all,+${capability}`,
    pdeathsig(deathSignal),
  ]);
}

function setpriv(command: Command, options: string[]): Command {
  return { file: setprivPath, args: [...options, "--", command.file, ...command.args] };
}

function pdeathsig(signal: NodeJS.Signals): string {
  return `--pdeathsig=${signal.replace(/^SIG/, "")}`;
}

async function hasSetpriv(): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    await access(setprivPath, constants.X_OK);
    // BusyBox has a setpriv too, one that knows neither users nor death signals.
    return basename(await realpath(setprivPath)) === "setpriv";
  } catch {
    return false;
  }
}

// Bits of the capability sets, see capabilities(7).
const dacOverride = 1n << 1n;
const dacReadSearch = 1n << 2n;

/** The weaker capability that is enough to read and run the program, of those that we have ourselves. */
async function readingCapability(program: string): Promise<"dac_read_search" | "dac_override" | undefined> {
  const status = await readFile("/proc/self/status", "utf8");
  const ours = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  // An install under umask 077 leaves programs that others may not run; to read them is not enough then.
  const isOpen = ((await stat(program)).mode & 0o001) !== 0;
  if (isOpen && (ours & dacReadSearch) !== 0n) return "dac_read_search";
  return (ours & dacOverride) === 0n ? undefined : "dac_override";
}
