import { test } from "vitest";
import { simulate } from "./simulation/simulation.ts";
import { decodeLog } from "../support/invariants.ts";
import { timestampMs } from "@bufbuild/protobuf/wkt";
test("dump", async () => {
  const e = await simulate(Number(process.env["SEED"]));
  console.log(e.healed);
  const log = decodeLog(e.log);
  const last = log.at(-1)!;
  for (const { position, event } of log) if (event.stream?.id === (process.env["RUN"] ?? last.event.stream?.id)) {
    const v: any = event.payload.value;
    console.log(String(position), timestampMs(event.createTime!) - Date.UTC(2026,0,1), event.type, event.correlationId, v.leaseId ?? v.lease?.leaseId ?? "", v.workerId ?? "", v.jobId ?? "", v.toolCallId ?? "", v.stepId ?? "", v.lost?.leaseId ?? "");
  }
});
