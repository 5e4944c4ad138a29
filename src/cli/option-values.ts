import { InvalidArgumentError } from "commander";

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

/** A position in the log: a whole number from 0. */
export function positionOption(text: string): bigint {
  if (!/^\d{1,19}$/.test(text)) throw new InvalidArgumentError("Give a position: a whole number from 0.");
  return BigInt(text);
}

/** One more `key=value`, added to those before. */
export function labelOption(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined) throw new InvalidArgumentError("Give a key and a value, for example team=research.");
  return { ...before, [key]: value ?? "" };
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
