import type { ClaimRunResponse } from "../../gen/signalbox/v1/engine_service_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../../src/client/client.ts";
import { until } from "../support/until.ts";

/** A claim that brought a run. */
export type Claim = ClaimRunResponse & { readonly run: Run };

/** Claims the next run of a handler by hand, as a worker called `workerId` would. */
export function claim(client: SignalboxClient, handler: string, workerId = "by_hand"): Promise<Claim> {
  return until(
    async () => {
      const claimed = await client.engine.claimRun({ handlers: [handler], workerId, maxWait: { seconds: 5n } });
      return claimed.run === undefined ? undefined : (claimed as Claim);
    },
    { what: `a run of ${handler} to claim` },
  );
}

/** Creates a run of a handler and claims it. */
export async function createAndClaim(client: SignalboxClient, handler = "by_hand"): Promise<Claim> {
  await client.runs.createRun({ handler });
  return claim(client, handler);
}
