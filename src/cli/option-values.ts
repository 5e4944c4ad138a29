import { InvalidArgumentError } from "commander";
import type { Principal } from "../../gen/signalbox/v1/common_pb.ts";
import { principalOfName } from "../kernel/principal.ts";

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds of a duration such as `500ms`, `30s`, `1.5h`. */
export function durationOption(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("Give a number and ms, s, m, h or d, for example 30s.");
  return Math.round(Number(number) * unitMs[unit as keyof typeof unitMs]);
}

/** A whole number from 1. */
export function countOption(text: string): number {
  const count = Number(text);
  if (!/^\d{1,9}$/.test(text) || count === 0) throw new InvalidArgumentError("Give a whole number from 1.");
  return count;
}

/** A whole number from 0. */
export function numberOption(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Give a whole number from 0.");
  return Number(text);
}

/** A whole number from 0 that may be large. */
export function bigNumberOption(text: string): bigint {
  if (!/^\d{1,18}$/.test(text)) throw new InvalidArgumentError("Give a whole number from 0.");
  return BigInt(text);
}

/** An amount of money in millionths: `2.5` is 2,500,000. */
export function costOption(text: string): bigint {
  const [, whole, part = ""] = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text) ?? [];
  if (whole === undefined) throw new InvalidArgumentError("Give an amount with up to six decimals, for example 2.50.");
  return BigInt(whole + part.padEnd(6, "0"));
}

/** A number from 1, such as `1.5`. */
export function factorOption(text: string): number {
  const factor = Number(text);
  if (!/^\d{1,3}(\.\d{1,3})?$/.test(text) || factor < 1) throw new InvalidArgumentError("Give a number from 1.");
  return factor;
}

/** A number from 0 to 1. */
export function shareOption(text: string): number {
  const share = Number(text);
  if (!/^\d(\.\d{1,6})?$/.test(text) || share > 1) throw new InvalidArgumentError("Give a number from 0 to 1.");
  return share;
}

/** How many in a time. */
export interface Rate {
  readonly count: number;
  readonly periodMs: number;
}

/** How many in a time, such as `100/1m`, or `none`. */
export function rateOption(text: string): Rate | "none" {
  if (text === "none") return text;
  const [, count = "", period = ""] = /^(\d+)\/(.+)$/.exec(text) ?? [];
  if (count === "") throw new InvalidArgumentError("Give a number and a time, for example 100/1m, or none.");
  return { count: countOption(count), periodMs: durationOption(period) };
}

/** A position in the log: a whole number from 0. */
export function positionOption(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new InvalidArgumentError("Give a position: a whole number from 0.");
  return BigInt(text);
}

/** A SHA-256 in hex, or in base64 as the API's JSON has it; returned in lower-case hex. */
export function hashOption(text: string): string {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase();
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== 32 || bytes.toString("base64") !== text) {
    throw new InvalidArgumentError("Give a SHA-256: 64 hex digits, or 44 characters of base64.");
  }
  return bytes.toString("hex");
}

/** One more `key=value`, added to those before. */
export function labelOption(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined) throw new InvalidArgumentError("Give a key and a value, for example team=research.");
  return { ...before, [key]: value ?? "" };
}

/** How much is at stake, as people type it. */
export const zones = ["sandbox", "supervised", "high_stakes"] as const;

/** A principal of a name such as `user:alice`. */
export function principalOption(text: string): Principal {
  const principal = principalOfName(text);
  if (principal === undefined)
    throw new InvalidArgumentError("Give a name like user:alice, agent:agt_… or service:ci.");
  return principal;
}

/** More items, commas between them, added to those before. */
export function listOption(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(",").map((item) => item.trim())].filter((item) => item !== "");
}

/** Values of one of `choices` in lower case, commas between them, added to those before. */
export function choicesOption<Choice extends string>(choices: readonly Choice[]) {
  return (text: string, before: readonly Choice[] = []): Choice[] => {
    const items = listOption(text.toLowerCase());
    const chosen = choices.filter((choice) => items.includes(choice));
    if (items.length === 0 || items.some((item) => !choices.some((choice) => choice === item))) {
      throw new InvalidArgumentError(`Give some of ${choices.join(", ")}.`);
    }
    return [...before, ...chosen];
  };
}

/** One of `choices`. */
export function choiceOption<Choice extends string>(choices: readonly Choice[]) {
  return (text: string): Choice => {
    const choice = choices.find((one) => one === text);
    if (choice === undefined) throw new InvalidArgumentError(`Give one of ${choices.join(", ")}.`);
    return choice;
  };
}

/** How each of several values is read, given what was read of it before. */
export type Readers<Values> = {
  readonly [Name in keyof Values]: (text: string, before?: Values[Name]) => Values[Name];
};

/** Several values as `name=value`, commas between them, added to those before. */
export function settingsOption<Values extends object>(readers: Readers<Values>) {
  const isName = (name: string): name is keyof Values & string => Object.hasOwn(readers, name);
  return (text: string, before: Partial<Values> = {}): Partial<Values> => {
    const values = { ...before };
    const settings = listOption(text);
    for (const setting of settings.length === 0 ? [""] : settings) {
      const [, name = "", value = ""] = /^([^=]*)=(.*)$/s.exec(setting) ?? [];
      if (!isName(name)) {
        throw new InvalidArgumentError(`Give some of ${Object.keys(readers).join(", ")}, each with = and a value.`);
      }
      values[name] = readers[name](value, values[name]);
    }
    return values;
  };
}
