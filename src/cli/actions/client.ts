import { createSignalboxClient, type SignalboxClient } from "../../client/client.ts";
import type { Cli } from "../cli.ts";
import { readSettings } from "../settings.ts";

/** A client of the server that the settings name. Close it when the command is done. */
export function openClient({ env }: Cli): SignalboxClient {
  const { url, token, workspaceId, onBehalfOf } = readSettings(env);
  return createSignalboxClient({ baseUrl: url, token, workspaceId, onBehalfOf });
}
