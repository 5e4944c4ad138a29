import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { Value } from "@bufbuild/protobuf/wkt";
import { jsonValue, NotJsonError } from "../../client/json.ts";
import { usageError } from "../cli-error.ts";

/** The text that an option means: itself, the file after an @, or stdin for a single -. */
export async function textArgument(option: string, given: string): Promise<string> {
  if (given === "-") return text(process.stdin);
  if (!given.startsWith("@")) return given;
  try {
    return await readFile(given.slice(1), "utf8");
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`${option} can not be read: ${cause}`, `Give ${option} @ and the path of a readable file.`);
  }
}

/** The text of a file, or of stdin for a single -. */
export function fileArgument(option: string, path: string): Promise<string> {
  return textArgument(option, path === "-" ? path : `@${path}`);
}

/**
 * The JSON that an option means, as textArgument reads it; undefined when the option is not given. What is no JSON and does
 * not look as if it were meant to be is taken as a text.
 */
export async function jsonArgument(option: string, given: string | undefined): Promise<Value | undefined> {
  if (given === undefined) return undefined;
  const json = await textArgument(option, given);
  try {
    return jsonValue(JSON.parse(json), option);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof NotJsonError)) throw error;
    if (error instanceof SyntaxError && !/^\s*[[{"]|^\s*$/.test(json)) return jsonValue(json, option);
    const hint = `Quote it for your shell, for example ${option} '{"hello":"world"}', or give a file: ${option} @input.json`;
    throw usageError(`${option} is no JSON: ${error.message}`, hint);
  }
}
