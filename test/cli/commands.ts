import { exitCodes } from "../../src/cli/cli-error.ts";
import { type Outcome, signalbox } from "./signalbox.ts";

/** Commands for one server and workspace. */
export interface Commands {
  /** How a command ended and what it said. */
  run(...args: string[]): Promise<Outcome>;
  /** What a command says to people. Throws when it did not succeed. */
  text(...args: string[]): Promise<string>;
  /** The one JSON value that a command prints. Throws when it did not succeed. */
  json<T>(...args: string[]): Promise<T>;
  /** The JSON values that a command prints, one per line. Throws when it did not succeed. */
  list<T>(...args: string[]): Promise<T[]>;
}

/** Commands for the server at `url`. */
export function createCommands(url: string, workspaceId: string): Commands {
  const env = { SIGNALBOX_URL: url, SIGNALBOX_WORKSPACE: workspaceId };

  async function text(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await signalbox(args, env);
    if (code !== exitCodes.ok) throw new Error(`signalbox ${args.join(" ")} exited with ${code}: ${stderr}`);
    return stdout;
  }

  return {
    run: (...args) => signalbox(args, env),
    text,
    json: async <T>(...args: string[]) => JSON.parse(await text(...args, "--json")) as T,
    list: async <T>(...args: string[]) =>
      (await text(...args, "--json"))
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as T),
  };
}
