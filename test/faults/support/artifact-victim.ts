// The command line of Signalbox in a process that dies where STORE_FAILPOINT or FAILPOINT says. It ends with its stdin.
import { registerHooks } from "node:module";

/** Which import of which file the failing stores stand in for. */
const replaced: readonly (readonly [specifier: string, importer: string])[] = [
  ["/jetstream-store.ts", "/src/cli/stores.ts"],
  ["/blobs.ts", "/src/cli/artifacts.ts"],
  ["/session-store.ts", "/src/cli/artifacts.ts"],
  ["/jetstream-key-store.ts", "/src/cli/keys.ts"],
];

registerHooks({
  resolve(specifier, context, next) {
    const isStore = replaced.some(
      ([end, importer]) => specifier.endsWith(end) && context.parentURL?.endsWith(importer),
    );
    const own = { ...context, parentURL: import.meta.url };
    return isStore ? next("./failing-artifacts.ts", own) : next(specifier, context);
  },
});
process.stdin.resume().once("end", () => process.kill(process.pid, "SIGKILL"));
// Only what is imported from now on goes through the hook.
await import("../../../src/cli/main.ts");
process.stdin.destroy();
