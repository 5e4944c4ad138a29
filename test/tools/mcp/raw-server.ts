import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

// Run as a child: an MCP server of the 2025 version without a library, so that it can say what a library would not.
// Its first argument is what it does: a list of tools as JSON, or one of the words below.
const [behaviour = "[]"] = process.argv.slice(2);
const { PID_FILE } = process.env;
if (PID_FILE !== undefined) appendFileSync(PID_FILE, `${process.pid}\n`);
if (behaviour === "stubborn") {
  process.on("SIGTERM", () => {});
  setInterval(() => {}, 1_000);
}
if (behaviour === "dies") process.exit(1);
if (behaviour === "floods") setInterval(() => process.stdout.write("x".repeat(100_000)), 1);

function answer(id: unknown, result: object): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result })}\n`);
}

interface Params {
  readonly protocolVersion?: string;
  readonly name?: string;
}

function handle({ id, method, params }: { id?: unknown; method?: string; params?: Params }): void {
  if (behaviour === "is silent" || id === undefined) return;
  if (method === "initialize") {
    const { protocolVersion = "2025-06-18" } = params ?? {};
    const serverInfo = { name: "raw", version: "1" };
    answer(id, { protocolVersion, capabilities: { tools: {} }, serverInfo });
  } else if (method === "tools/list") {
    answer(id, { tools: behaviour.startsWith("[") ? (JSON.parse(behaviour) as unknown) : [] });
  } else if (method === "tools/call") {
    answer(id, params?.name === "lies" ? { content: [], structuredContent: { sum: "many" } } : { content: "nonsense" });
  } else {
    process.stdout.write(
      `${JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "no such method" } })}\n`,
    );
  }
}

createInterface({ input: process.stdin }).on("line", (line) =>
  handle(JSON.parse(line) as Parameters<typeof handle>[0]),
);
