import { fork } from "node:child_process"; import { once } from "node:events";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { RunService } from "../gen/signalbox/v1/run_service_pb.ts";
import { EventService } from "../gen/signalbox/v1/event_service_pb.ts";
const srv: any = {};
for (const m of ["bare","full"]) { const c = fork(new URL("./srv.ts", import.meta.url).pathname, [m]); const [{ports}] = await once(c,"message") as any; srv[m]={c,ports}; }
async function cpu(m:string){ srv[m].c.send("x"); const [{cpu}] = await once(srv[m].c,"message") as any; return cpu; }
const kinds: any = {
 "connect h1 json": (p:number[])=>createConnectTransport({baseUrl:`http://127.0.0.1:${p[0]}`,httpVersion:"1.1",useBinaryFormat:false}),
 "connect h2 bin": (p:number[])=>createConnectTransport({baseUrl:`http://127.0.0.1:${p[1]}`,httpVersion:"2"}),
 "grpc h2": (p:number[])=>createGrpcTransport({baseUrl:`http://127.0.0.1:${p[1]}`}),
};
for (const [k, mk] of Object.entries(kinds) as any) for (let round=0; round<3; round++) for (const m of ["bare","full"]) {
  const client = createClient(RunService, mk(srv[m].ports)); 
  const N = 6000; let i=0;
  const go = async (n:number)=>{ i=0; await Promise.all(Array.from({length:32}, async()=>{ while(i++<n) await client.createRun({handler:"echo", input:{kind:{case:"stringValue",value:"hello"}}}); })); };
  if (round===0) await go(3000);
  await cpu(m); const t=performance.now(); await go(N); const ms=performance.now()-t; const c=await cpu(m);
  console.log(k.padEnd(18), m, (N/ms*1000).toFixed(0).padStart(6), "req/s", (c/N).toFixed(0).padStart(5), "us server cpu/call");
}
for (let round=0; round<3; round++) for (const m of ["bare","full"]) {
  const client = createClient(EventService, kinds["grpc h2"](srv[m].ports)); await cpu(m); const t=performance.now(); let n=0; for await (const _ of client.subscribe({})) n++; const ms=performance.now()-t; const c=await cpu(m);
  console.log("stream grpc h2", m, (n/ms*1000).toFixed(0), "msg/s", (c/n).toFixed(1), "us/msg");
}
for (const m of ["bare","full"]) srv[m].c.kill(); process.exit();
