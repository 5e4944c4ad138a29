import { z } from "zod";
import { ToolEffect } from "../../../gen/signalbox/v1/run_pb.ts";
import { defineTool } from "../define-tool.ts";
import type { ToolPack } from "../tool.ts";
import { inZone, parseTime } from "./zoned-time.ts";

const answer = "Answers {time in UTC, zone, local with its offset, weekday}.";
const zone = z.string().min(1).max(100).default("UTC").describe("IANA name of a time zone, such as Europe/Berlin");

/** `time.now` and `time.convert`. `now` says the time in milliseconds since 1970. */
export function timePack(now: () => number = Date.now): ToolPack {
  const nowTool = defineTool({
    name: "time.now",
    description: `The time now in a time zone. ${answer}`,
    effect: ToolEffect.READ,
    input: z.object({ zone }),
    run: (args) => inZone(now(), args.zone),
  });
  const convertTool = defineTool({
    name: "time.convert",
    description: `What time it is in one zone when it is a given time in another. ${answer}`,
    effect: ToolEffect.READ,
    input: z.object({
      time: z.string().max(40).describe("ISO 8601, such as 2026-03-29T09:30; an offset at its end wins over from"),
      from: zone,
      to: zone,
    }),
    run: ({ time, from, to }) => inZone(parseTime(time, from), to),
  });
  return { name: "time", tools: [nowTool, convertTool] };
}
