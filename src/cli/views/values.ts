import { type Timestamp, timestampDate, timestampMs, type Value } from "@bufbuild/protobuf/wkt";
import type { Principal } from "../../../gen/signalbox/v1/common_pb.ts";
import type { Action } from "../../../gen/signalbox/v1/policy_pb.ts";
import type { RunError } from "../../../gen/signalbox/v1/run_pb.ts";
import { valueToJson } from "../../client/json.ts";
import { principalName } from "../../kernel/principal.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** A value as JSON on one line, cut to `maxLength` characters; empty when it is unset. */
export function shortJson(value: Value | undefined, maxLength: number): string {
  const json = valueToJson(value);
  return json === undefined ? "" : shorten(JSON.stringify(json), maxLength);
}

/** The text on one line, cut to `maxLength` characters. */
export function shorten(text: string, maxLength: number): string {
  const line = text.replace(/\s*\n\s*/g, " ");
  return line.length <= maxLength ? line : `${line.slice(0, maxLength - 1)}…`;
}

/** A time as `2026-11-21 08:00:00Z`; empty when it is unset. */
export function timeText(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  return timestampDate(time).toISOString().replace("T", " ").replace(/\.\d+/, "");
}

/** How long it was from one time to the other; empty unless both are set. */
export function tookText(start: Timestamp | undefined, end: Timestamp | undefined): string {
  return start === undefined || end === undefined ? "" : durationText(timestampMs(end) - timestampMs(start));
}

/** Milliseconds for people, in the two largest units that they have: `12 ms`, `3.4 s`, `5 min 6 s`, `24 h`, `2 d 3 h`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < minuteMs) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < hourMs) return twoUnits(ms, [minuteMs, "min"], [1_000, "s"]);
  if (ms < 2 * dayMs) return twoUnits(ms, [hourMs, "h"], [minuteMs, "min"]);
  return twoUnits(ms, [dayMs, "d"], [hourMs, "h"]);
}

/** Bytes for people, in units of 1,000: `12 bytes`, `3.4 kB`, `5.6 MB`. */
export function sizeText(bytes: number | bigint): string {
  let value = Number(bytes);
  if (value < 1_000) return `${value} ${value === 1 ? "byte" : "bytes"}`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  // From 999,950 on it would read 1000.0.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

type Unit = readonly [ms: number, name: string];

function twoUnits(ms: number, [large, largeName]: Unit, [small, smallName]: Unit): string {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)} ${largeName}${rest === 0 ? "" : ` ${rest} ${smallName}`}`;
}

/** An error as `CODE: message`; empty when it is unset. */
export function errorText(error: RunError | undefined, maxLength: number): string {
  return error === undefined ? "" : `${error.code}: ${shorten(error.message, maxLength)}`;
}

/** Who did something, and on whose behalf; empty when it is unset. */
export function principalText(principal: Principal | undefined): string {
  if (principal === undefined) return "";
  return [principal, ...principal.onBehalfOf].map(({ id }) => id).join(" for ");
}

/** Who somebody is, as people type it: `user:alice`; empty when it is unset. */
export function nameText(principal: Principal | undefined): string {
  return principal === undefined ? "" : principalName(principal);
}

/** What is to be done: `mail.send to mailto:a@example.com`; empty when it is unset. */
export function actionText(action: Action | undefined): string {
  if (action === undefined) return "";
  return action.target === "" ? action.type : `${action.type} to ${action.target}`;
}

/** Labels as `key=value` with blanks between. */
export function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/** What was said: a text, an object's `text`, or the JSON as it is; empty when nothing was. */
export function saidText(value: Value | undefined): string {
  const said = valueToJson(value);
  if (said === undefined) return "";
  if (typeof said === "string") return said;
  const text = typeof said === "object" && said !== null && !Array.isArray(said) ? said["text"] : undefined;
  return typeof text === "string" ? text : JSON.stringify(said);
}
