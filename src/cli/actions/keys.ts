import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { systemClock } from "../../kernel/clock.ts";
import { randomIds } from "../../kernel/ids.ts";
import { onBehalfOf, principalOfName, signalbox } from "../../kernel/principal.ts";
import type { KeyCare, WorkspaceKeysDescription } from "../../keys/key-care.ts";
import { CliError, type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { DestroyOptions, RotateOptions } from "../commands/keys.ts";
import { openKeys } from "../keys.ts";
import { readSettings, type Settings } from "../settings.ts";
import { openUpkeep } from "../upkeep.ts";
import { table } from "../views/table.ts";
import { timeText } from "../views/values.ts";
import { confirmed } from "./confirming.ts";

/** `signalbox keys list`. */
export function listKeys(cli: Cli): Promise<ExitCode> {
  return withKeys(cli, async (care) => {
    const found: (WorkspaceKeysDescription & { readonly artifactKeys: number })[] = [];
    for (const workspace of await allWorkspaces(care, cli)) {
      found.push({ ...workspace, artifactKeys: await care.count(workspace.workspaceId, cli.signal) });
    }
    const json = found.map(({ keys, retired, destroyed, ...rest }) => ({
      ...rest,
      keys: keys.map(({ createTime, ...key }) => ({ ...key, createTime: createTime.toISOString() })),
      retired: [...retired],
      destroyed: [...destroyed],
    }));
    if (cli.output.json) for (const workspace of json) cli.output.print(JSON.stringify(workspace));
    else cli.output.print(table(["WORKSPACE", "KEY", "SINCE", "ROOT KEY", "ARTIFACTS", "STATE"], found.map(rowOf)));
  });
}

function rowOf({ workspaceId, keys, destroyed, artifactKeys }: WorkspaceKeysDescription & { artifactKeys: number }) {
  const current = keys.at(-1);
  const { keyId = "", createTime, rootId = "" } = current ?? {};
  const state = keys.length > 1 ? "rotation not finished" : destroyedText(destroyed.length);
  return [
    workspaceId,
    keyId,
    createTime === undefined ? "" : timeText(timestampFromDate(createTime)),
    rootId,
    String(artifactKeys),
    state,
  ];
}

function destroyedText(count: number): string {
  return count === 0 ? "" : `${count} destroyed`;
}

/** `signalbox keys rotate`. */
export function rotateKeys(cli: Cli, { root, all }: RotateOptions): Promise<ExitCode> {
  return withKeys(cli, async (care, { workspaceId }) => {
    if (root) return rotateRoot(cli, care);
    const known = (await allWorkspaces(care, cli)).map((workspace) => workspace.workspaceId);
    if (!all && !known.includes(workspaceId)) {
      const hint = "`signalbox keys list` shows those that have; --workspace says which.";
      throw new CliError(`workspace ${workspaceId} has no keys yet`, hint, exitCodes.failed);
    }
    for (const each of all ? known : [workspaceId]) await rotateWorkspace(cli, care, each);
  });
}

async function rotateRoot({ output, signal }: Cli, care: KeyCare): Promise<void> {
  const onProgress = (count: number) => output.progress(`wrapping keys of workspaces  ${count}`);
  const rewrapped = await care.rotateRoot({ signal, onProgress });
  output.progress("");
  output.show({ root: true, rewrapped }, `wrapped ${counted(rewrapped, "key")} of workspaces by the root key anew`);
}

async function rotateWorkspace({ output, signal }: Cli, care: KeyCare, workspaceId: string): Promise<void> {
  const onProgress = (count: number) => output.progress(`wrapping keys of artifacts of ${workspaceId}  ${count}`);
  const rotation = await care.rotateWorkspace(workspaceId, { signal, onProgress });
  output.progress("");
  const how = rotation.resumed ? "went on with a rotation that was not finished: " : "";
  const text = `${workspaceId}: ${how}${rotation.keyId} wraps now, ${counted(rotation.rewrapped, "key")} of artifacts were wrapped anew`;
  output.show({ ...rotation }, text);
}

/** `signalbox keys destroy`. */
export async function destroyKeys(cli: Cli, workspaceId: string, { reason, yes }: DestroyOptions): Promise<ExitCode> {
  if (reason.trim() === "")
    throw usageError("--reason is empty", "Say why: it is recorded, and nothing else will tell.");
  return withKeys(cli, async (care, { onBehalfOf: names }) => {
    const workspace = (await allWorkspaces(care, cli)).find((each) => each.workspaceId === workspaceId);
    if (workspace === undefined) {
      const hint = "`signalbox keys list` shows the workspaces that have keys.";
      throw new CliError(`workspace ${workspaceId} has no keys`, hint, exitCodes.failed);
    }
    if (!yes) await ask(cli, workspaceId, await care.count(workspaceId, cli.signal));
    const by = onBehalfOf(
      signalbox,
      names.map((name) => principalOfName(name)).filter((principal) => principal !== undefined),
    );
    const keyIds = await care.destroyWorkspace(workspaceId, { reason, by });
    const done = keyIds.length === 0 ? "had no keys any more" : `destroyed ${keyIds.join(", ")}`;
    cli.output.show({ workspaceId, keyIds }, `${workspaceId}: ${done}; backups of the stream KEYS may still hold them`);
  });
}

async function ask({ output, signal }: Cli, workspaceId: string, count: number): Promise<void> {
  if (output.json || !process.stdin.isTTY) {
    throw usageError("nobody can be asked here whether to destroy the keys", "Give --yes: there is no way back.");
  }
  output.note(`${counted(count, "artifact")} of ${workspaceId} will be unreadable for everybody, for ever.`);
  if (await confirmed("Destroy the keys? (yes/no) ", { input: process.stdin, output: process.stderr }, signal)) return;
  throw new CliError("not destroyed; nothing was changed", "", exitCodes.failed);
}

async function allWorkspaces(care: KeyCare, { signal }: Cli): Promise<WorkspaceKeysDescription[]> {
  const found = new Map<string, WorkspaceKeysDescription>();
  for await (const workspace of care.workspaces(signal)) found.set(workspace.workspaceId, workspace);
  return [...found.values()].toSorted((a, b) => (a.workspaceId < b.workspaceId ? -1 : 1));
}

async function withKeys(cli: Cli, act: (care: KeyCare, settings: Settings) => Promise<void>): Promise<ExitCode> {
  const settings = readSettings(cli.env);
  await using stores = await openUpkeep(cli);
  const replicas = settings.durability === "replicated" ? 3 : 1;
  const { care } = await openKeys({ stores, settings, replicas, clock: systemClock, ids: randomIds, env: cli.env });
  await act(care, settings);
  return exitCodes.ok;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
