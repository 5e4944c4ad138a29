import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { createTestServer } from "./test-server.ts";

// Run as a child: the tools of createTestServer over standard input and output.
process.stderr.write("starting\n");
serveStdio(() => createTestServer("stdio"));
