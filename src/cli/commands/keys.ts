import type { Command } from "commander";
import { usageError } from "../cli-error.ts";
import type { Act } from "../cli.ts";

const stores = `
Works on the stores themselves, beside the servers: it uses NATS_URL and DATABASE_URL and the root key of the servers
(SIGNALBOX_ROOT_KEY, _FILE or _COMMAND); without them those of the data folder.
`;

/** Options of `keys rotate`. */
export interface RotateOptions {
  readonly root?: true;
  readonly all?: true;
}

/** Options of `keys destroy`. */
export interface DestroyOptions {
  readonly reason: string;
  readonly yes?: true;
}

/** Adds `keys`. */
export function addKeys(program: Command, act: Act): void {
  const keys = program.command("keys").description("look after the keys that seal artifacts; an operator's tool");
  keys
    .command("list")
    .alias("ls")
    .description("list the keys of every workspace: ids, ages and counts, never a key")
    .addHelpText("after", `${stores}\nExamples:\n  $ signalbox keys list\n  $ signalbox keys list --json`)
    .action(() => act(async (cli) => (await import("../actions/keys.ts")).listKeys(cli)));
  addRotate(keys, act);
  addDestroy(keys, act);
}

function addRotate(keys: Command, act: Act): void {
  keys
    .command("rotate")
    .description("give a workspace a new key, or wrap all of them by a new root key; no artifact is written again")
    .option("--root", "wrap the keys of all workspaces by the present root key")
    .option("--all", "give every workspace a new key")
    .addHelpText(
      "after",
      `
Without an option it rotates the key of one workspace, --workspace. Servers keep working meanwhile. When it is stopped, the
same command goes on where it was.

For --root give every process the new root key, and the one before as SIGNALBOX_ROOT_KEY_OLD, then run this, then take
SIGNALBOX_ROOT_KEY_OLD away.
${stores}
Examples:
  $ signalbox keys rotate --workspace ws_research
  $ signalbox keys rotate --all
  $ SIGNALBOX_ROOT_KEY_OLD=file:/run/secrets/old signalbox keys rotate --root`,
    )
    .action((options: RotateOptions) =>
      act(async (cli) => {
        if (options.root && options.all) throw usageError("--root and --all exclude each other", "Give one of them.");
        return (await import("../actions/keys.ts")).rotateKeys(cli, options);
      }),
    );
}

function addDestroy(keys: Command, act: Act): void {
  keys
    .command("destroy <workspace-id>")
    .description(
      "destroy the keys of a workspace for ever: every artifact of it becomes unreadable, everywhere at once",
    )
    .requiredOption("--reason <text>", "why, for the record")
    .option("--yes", "do not ask")
    .addHelpText(
      "after",
      `
There is no way back: neither Signalbox nor anybody else can read the bytes again. Events, hash chains and the data of
artifacts (names, sizes, SHA-256) stay and can be verified. Backups of the stream KEYS from before still hold the keys:
destroy those, too. What the workspace stores from now on gets a new key.
${stores}
Examples:
  $ signalbox keys destroy ws_research --reason "contract 12 has ended"
  $ signalbox keys destroy ws_research --reason "contract 12 has ended" --yes --json`,
    )
    .action((workspaceId: string, options: DestroyOptions) =>
      act(async (cli) => (await import("../actions/keys.ts")).destroyKeys(cli, workspaceId, options)),
    );
}
