import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Run, RunStatus } from "../../gen/signalbox/v1/run_pb.ts";

/** What is posted when a run that answers a message has ended. */
export interface Answer {
  /** Markdown, 1 byte to 64 KiB, without NUL. */
  readonly text: string;
  /** Whether agents that it mentions get runs: a failure calls nobody. */
  readonly mayCall: boolean;
}

/** The largest text of a message, and the longest failure that is told. */
const maxTextBytes = 64 * 1024;
const maxFailureLength = 500;

/** The answer of a run that has ended; undefined while it has not. */
export function answerOf({ runId, status, output, error }: Run): Answer | undefined {
  switch (status) {
    case RunStatus.SUCCEEDED:
      return { text: fit(textOf(output && toJson(ValueSchema, output)), runId), mayCall: true };
    case RunStatus.FAILED:
      return failure(error === undefined ? "failed" : `failed: ${error.code}: ${error.message}`);
    case RunStatus.CANCELED:
      return failure("was canceled");
    case RunStatus.QUEUED:
    case RunStatus.RUNNING:
    case RunStatus.WAITING:
    case RunStatus.PAUSED:
    case RunStatus.UNSPECIFIED:
    default:
      return undefined;
  }
}

/** What is said in place of an answer when a mention could not create its run. */
export function refusalOf(error: string): Answer {
  return failure(`could not be started: ${error}`);
}

/** One line. */
function failure(what: string): Answer {
  const line = withoutNul(what).replace(/\s+/g, " ").trim();
  const cut = line.length > maxFailureLength ? `${line.slice(0, maxFailureLength).toWellFormed()}…` : line;
  return { text: `The run ${cut}`, mayCall: false };
}

/** A text, an object's `text`, or the JSON as a block of code. */
function textOf(value: JsonValue | undefined): string {
  const text = typeof value === "object" && value !== null && !Array.isArray(value) ? value["text"] : value;
  if (typeof text === "string") return text;
  return value === undefined || value === null ? "" : `\`\`\`json\n${JSON.stringify(value, undefined, 2)}\n\`\`\``;
}

function fit(text: string, runId: string): string {
  const clean = withoutNul(text);
  if (clean.trim() === "") return "The run ended without an answer.";
  const bytes = Buffer.from(clean);
  if (bytes.length <= maxTextBytes) return clean;
  const note = `\n\n… (cut here: the output of ${runId} has all of it)`;
  // What a character is cut in the middle of is left out.
  const kept = new TextDecoder().decode(bytes.subarray(0, maxTextBytes - Buffer.byteLength(note)), { stream: true });
  return kept + note;
}

function withoutNul(text: string): string {
  return text.replaceAll("\0", "");
}
