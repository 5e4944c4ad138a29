import { setTimeout as sleep } from "node:timers/promises";
import { McpServer } from "@modelcontextprotocol/server";
import { z } from "zod";

/** An MCP server with tools that behave and tools that do not. `name` is what `who` answers. */
export function createTestServer(name: string): McpServer {
  const server = new McpServer({ name, version: "1.2.3" }, { capabilities: { tools: { listChanged: true } } });
  addGoodTools(server, name);
  addBadTools(server);
  return server;
}

function addGoodTools(server: McpServer, name: string): void {
  const reads = { readOnlyHint: true };
  server.registerTool("who", { description: "Who answers.", annotations: reads }, () => text(`${name} ${process.pid}`));
  server.registerTool("env", { annotations: reads }, () => text(JSON.stringify(process.env)));
  server.registerTool(
    "add",
    {
      inputSchema: z.strictObject({ a: z.number(), b: z.number() }),
      outputSchema: z.object({ sum: z.number() }),
      annotations: { idempotentHint: true },
    },
    ({ a, b }) => ({ ...text(String(a + b)), structuredContent: { sum: a + b } }),
  );
  server.registerTool("picture", { annotations: reads }, () => ({
    content: [
      { type: "text", text: "a dot" },
      { type: "image", mimeType: "image/png", data: "AAAA" },
    ],
  }));
  server.registerTool("grow", {}, () => {
    server.registerTool("grown", { annotations: reads }, () => text("late"));
    return text("grown");
  });
}

function addBadTools(server: McpServer): void {
  const sized = { inputSchema: z.object({ bytes: z.number() }) };
  server.registerTool("fail", {}, () => ({ ...text("the disk is full"), isError: true }));
  server.registerTool("throw", {}, () => {
    throw new Error("a bug");
  });
  server.registerTool("crash", {}, () => process.exit(3));
  server.registerTool("crash_safely", { annotations: { idempotentHint: true } }, () => process.exit(3));
  server.registerTool("hang", {}, () => sleep(600_000, text("late"), { ref: false }));
  server.registerTool("block", {}, () => {
    for (;;);
  });
  server.registerTool("huge", sized, ({ bytes }) => text("x".repeat(bytes)));
}

function text(value: string) {
  return { content: [{ type: "text" as const, text: value }] };
}
