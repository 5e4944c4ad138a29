import http from "node:http"; import http2 from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { pino } from "pino"; import { Registry } from "prom-client";
import { RunService } from "../gen/signalbox/v1/run_service_pb.ts";
import { EventService } from "../gen/signalbox/v1/event_service_pb.ts";
import { callOf } from "../src/kernel/call.ts";
import { openServer } from "../src/server/server.ts";
const mode = process.argv[2];
const routes = (r: any) => { r.service(RunService, { createRun: (q: any, c: any) => { if (mode==="full") callOf(c); return { run: { runId: "run_00000000000000000000000001", handler: q.handler, input: q.input } } } });
 r.service(EventService, { async *subscribe() { for (let i=0;i<20000;i++) yield { frame: { case: "event", value: { position: BigInt(i), eventId: "x".repeat(400) } } }; } }); };
let ports: number[];
if (mode === "full") { const s = await openServer({ host:"127.0.0.1", port:0, auth:{mode:"none"}, allowedOrigins:[], reflection:true, services:[RunService, EventService], routes, readiness: async()=>({}), metrics:new Registry(), log: pino({level:"info"}), draining:new AbortController(), maxRequestBytes: 4<<20 }); ports=[s.port,s.port]; }
else { const h = connectNodeAdapter({ routes }); const a = http.createServer(h).listen(0,"127.0.0.1"); const b = http2.createServer(h).listen(0,"127.0.0.1"); await new Promise(r=>setTimeout(r,100)); ports=[(a.address() as any).port,(b.address() as any).port]; }
process.send!({ ports });
let last = process.cpuUsage();
process.on("message", (m) => { const u = process.cpuUsage(last); last = process.cpuUsage(); process.send!({ cpu: u.user+u.system }); });
