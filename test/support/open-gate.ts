import type { SignalboxClient } from "../../src/client/client.ts";

/** Puts a policy into the client's workspace that permits everything: for tests of what is behind the gate. */
export async function openGate(client: SignalboxClient): Promise<void> {
  await client.policy.putPolicy({ policy: { cedar: "permit(principal, action, resource);" } });
}
