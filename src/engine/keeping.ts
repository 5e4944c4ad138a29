import { actorsOf } from "./actors.ts";
import { type ArtifactStore, createArtifactStore } from "./artifact-store.ts";
import { askUnder } from "./ask.ts";
import type { Equipment } from "./context.ts";
import type { Claim, Lease } from "./lease.ts";
import { createLedger, type Ledger } from "./ledger.ts";
import { createStepOutputs, type StepOutputs } from "./step-outputs.ts";

/** Where an attempt keeps what it does. */
export interface Keeping {
  readonly ledger: Ledger;
  readonly store: ArtifactStore;
  readonly outputs: StepOutputs;
}

/** The record of a claimed run and its artifacts, for as long as the lease holds. */
export function openKeeping({ client, engine }: Equipment, { run, leaseToken }: Claim, lease: Lease): Keeping {
  const ask = askUnder(lease);
  const reader = client.onBehalfOf(...actorsOf(run)).artifacts;
  const store = createArtifactStore({ artifacts: client.artifacts, reader, leaseToken, ask });
  const outputs = createStepOutputs(store, run);
  return { ledger: createLedger({ engine, leaseToken, ask, outputs }), store, outputs };
}
