import { createContext, Script } from "node:vm";
import { ToolError } from "./tool-error.ts";

// V8 ends what a script runs when its time is up, functions of ours included, loops and regular expressions as well.
const script = new Script("run()");
const sandbox: { run(): void } = { run() {} };
const context = createContext(sandbox);

/**
 * What `fn` returns, when it does so within `ms` milliseconds; for code that others can make run for ever, in a thread
 * that heartbeats share. Throws what `fn` throws, and a ToolError with `code` when the time is up. `fn` is synchronous,
 * and whatever it was changing may be half done when it is cut off. It costs about 0.1 ms.
 */
export function withinTime<T>(ms: number, code: string, message: string, fn: () => T): T {
  let result: { readonly value: T } | undefined;
  const outer = sandbox.run;
  sandbox.run = () => {
    result = { value: fn() };
  };
  try {
    script.runInContext(context, { timeout: ms, displayErrors: false });
  } catch (error) {
    if (!isTimeUp(error)) throw error;
    throw new ToolError(code, message, { cause: error });
  } finally {
    sandbox.run = outer;
  }
  if (result === undefined) throw new Error("the script ended without running the function");
  return result.value;
}

function isTimeUp(error: unknown): boolean {
  // Not instanceof Error: it is an Error of the context.
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}
