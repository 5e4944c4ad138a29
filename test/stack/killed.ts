// A process that opens a stack, says so with its addresses as one line of JSON, and waits to be killed.
import { pino } from "pino";
import { openStack } from "../../src/stack/stack.ts";

const [dataDir = ""] = process.argv.slice(2);
const log = pino({ level: "silent" });
const { natsUrl, databaseUrl } = await openStack({
  dataDir,
  durability: "fsync",
  log,
  onFatal: (error) => process.emitWarning(error),
});
process.stdout.write(`${JSON.stringify({ natsUrl, databaseUrl })}\n`);
