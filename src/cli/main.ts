import { runCommandLine } from "./command-line.ts";
import { watchInterrupts } from "./interrupts.ts";

const { env, stdout, stderr } = process;

using interrupts = watchInterrupts(() => {
  if (stderr.isTTY) stderr.write("\nstopping; Ctrl-C again stops at once\n");
});
process.exitCode = await runCommandLine(process.argv.slice(2), { env, stdout, stderr, signal: interrupts.signal });
