import { createKeyCare } from "./care.ts";
import type { KeyCare } from "./key-care.ts";
import type { KeyRing } from "./key-ring.ts";
import { createKeyRing } from "./ring.ts";
import { createWorkspaceKeys, type KeysDeps } from "./workspace-keys.ts";

/** The keys of an installation. */
export interface Keys {
  readonly ring: KeyRing;
  readonly care: KeyCare;
}

/** The keys in a store. */
export function createKeys(deps: KeysDeps): Keys {
  const workspaceKeys = createWorkspaceKeys(deps);
  return { ring: createKeyRing({ ...deps, workspaceKeys }), care: createKeyCare({ ...deps, workspaceKeys }) };
}
