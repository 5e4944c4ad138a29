import { create, toJson } from "@bufbuild/protobuf";
import { KillSwitchSchema, KillSwitchScope, type StoppedWrite } from "../../../gen/signalbox/v1/policy_pb.ts";
import { GetKillSwitchResponseSchema } from "../../../gen/signalbox/v1/policy_service_pb.ts";
import { type ExitCode, exitCodes } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { FlipOptions, KillSwitchStatusOptions } from "../commands/kill-switch.ts";
import { switchText, statusView } from "../views/kill-switch-view.ts";
import { openClient } from "./client.ts";
import { pages } from "./listing.ts";

/** `signalbox kill-switch on` and `off`. */
export async function flip(cli: Cli, on: boolean, { installation, reason = "" }: FlipOptions): Promise<ExitCode> {
  const scope = installation ? KillSwitchScope.INSTALLATION : KillSwitchScope.WORKSPACE;
  using client = openClient(cli);
  const { killSwitch } = await client.policy.setKillSwitch({ scope, on, reason }, { signal: cli.signal });
  if (killSwitch === undefined) throw new Error("the server answered without a kill switch");
  cli.output.show(toJson(KillSwitchSchema, killSwitch), switchText(killSwitch));
  return exitCodes.ok;
}

/** `signalbox kill-switch status`. */
export async function showStatus(cli: Cli, { limit }: KillSwitchStatusOptions): Promise<ExitCode> {
  using client = openClient(cli);
  let newest = create(GetKillSwitchResponseSchema);
  const stopped: StoppedWrite[] = await pages(limit, async (page) => {
    newest = await client.policy.getKillSwitch(page, { signal: cli.signal });
    return { items: newest.stopped, nextPageToken: newest.nextPageToken };
  });
  const status = { ...newest, stopped };
  cli.output.show(toJson(GetKillSwitchResponseSchema, status), statusView(status));
  return exitCodes.ok;
}
