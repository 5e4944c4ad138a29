import { readdir, readFile } from "node:fs/promises";

/** What the kernel knows of a process. */
interface Process {
  readonly pid: number;
  readonly parent: number;
  /** Processor time used so far, user and system. */
  readonly cpuMs: number;
}

// USER_HZ: a part of Linux' binary interface, the same on every architecture of ours.
const msPerTick = 10;

/**
 * The processor time in milliseconds that each process has used so far, those below it included, except for what belongs
 * to another of the given ones. In the order given. Linux only.
 */
export async function cpuTimes(pids: readonly number[]): Promise<number[]> {
  const processes = new Map((await readProcesses()).map((each) => [each.pid, each]));
  const totals = new Map(pids.map((pid) => [pid, 0]));
  for (const { pid, cpuMs } of processes.values()) {
    let owner: number | undefined = pid;
    while (owner !== undefined && !totals.has(owner)) owner = processes.get(owner)?.parent;
    if (owner !== undefined) totals.set(owner, (totals.get(owner) ?? 0) + cpuMs);
  }
  return [...totals.values()];
}

async function readProcesses(): Promise<Process[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(names.map((name) => readProcess(Number(name))));
  return found.filter((each) => each !== undefined);
}

async function readProcess(pid: number): Promise<Process | undefined> {
  // It may have ended since the folder was listed.
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The name, in parentheses, can hold anything: proc_pid_stat(5), fields from the third on.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields === undefined) return undefined;
  const [parent, userTicks, systemTicks] = [fields[1], fields[11], fields[12]].map(Number);
  return { pid, parent: parent ?? 0, cpuMs: ((userTicks ?? 0) + (systemTicks ?? 0)) * msPerTick };
}
