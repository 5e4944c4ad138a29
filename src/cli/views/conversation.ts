import type { RunDelta } from "../../../gen/signalbox/v1/delta_pb.ts";
import type { Event } from "../../../gen/signalbox/v1/event_pb.ts";
import { StepKind } from "../../../gen/signalbox/v1/run_pb.ts";
import { type JsonValue, valueToJson } from "../../client/json.ts";
import { createTimeline } from "./timeline.ts";
import { errorText, shorten, shortJson } from "./values.ts";

/** Where a conversation is told. */
export interface Teller {
  /** Text that goes on where the text before ended. */
  write(text: string): void;
  /** A line of its own. */
  line(text: string): void;
}

/** Tells a run of an agent as a conversation: what the model says as it says it, calls of tools, child runs, citations. */
export interface Conversation {
  /** Takes output in the making. */
  delta(delta: RunDelta): void;
  /** Takes the next event of the run. */
  event(event: Event): void;
  /** Who answered last, `provider/model`; undefined while nobody has. */
  model(): string | undefined;
}

/** A step or tool call under way. */
interface Open {
  readonly key: string;
  readonly name: string;
  readonly kind: StepKind | "tool";
}

const maxDetail = 160;
/** What is told in another way, or is of no interest to whoever waits for an answer. */
const quiet: ReadonlySet<Event["payload"]["case"]> = new Set([
  "runCreated",
  "runClaimed",
  "runSuspended",
  "runChildEnded",
] as const);

/** A conversation without a word. */
export function createConversation({ write, line }: Teller): Conversation {
  const open = new Map<string, Open>();
  // What was told of each answer, by attempt and key; answers are told while they are made, when that comes through.
  const told = new Map<string, string>();
  const ended = new Set<string>();
  const timeline = createTimeline();
  let attempt = 0;
  let model: string | undefined;

  function started(id: string, item: Open, detail: string): void {
    // Started again, after a wait or in a later attempt: it has been told.
    if (open.has(id)) return;
    open.set(id, item);
    if (item.kind === "tool" || item.kind === StepKind.RUN) line(`  → ${item.name}  ${detail}`.trimEnd());
  }

  function done(id: string, mark: string, detail: string): void {
    const item = open.get(id);
    if (item?.kind === "tool" || item?.kind === StepKind.RUN) line(`  ${mark} ${item.name}  ${detail}`.trimEnd());
  }

  /** Tells what is still to be told of an answer that is on record. */
  function answered({ key }: Open, output: JsonValue | undefined): void {
    const said = textField(output, "text") ?? "";
    const soFar = told.get(`${attempt} ${key}`) ?? "";
    ended.add(`${attempt} ${key}`);
    model = textField(output, "model") ?? model;
    if (said.startsWith(soFar)) write(said.slice(soFar.length));
    // Pieces were lost on the way, or the model was asked again and said something else.
    else line(said);
  }

  /** True for an event of a step, which is told then. */
  function stepEvent(payload: Event["payload"]): boolean {
    if (payload.case === "stepStarted") {
      const { stepId, key, name, kind, childRunId } = payload.value;
      started(stepId, { key, name: name || key, kind }, childRunId);
    } else if (payload.case === "stepCompleted") {
      const { stepId } = payload.value;
      const item = open.get(stepId);
      const output = valueToJson(payload.value.output);
      if (item?.kind === StepKind.MODEL) answered(item, output);
      else done(stepId, "←", shownText(output));
    } else if (payload.case === "stepFailed") {
      done(payload.value.stepId, "✗", errorText(payload.value.error, maxDetail));
    } else return false;
    return true;
  }

  /** True for an event of a tool call, which is told then. */
  function toolCallEvent(payload: Event["payload"]): boolean {
    if (payload.case === "toolCallStarted") {
      const { toolCallId, key, tool, arguments: args } = payload.value;
      started(toolCallId, { key, name: tool, kind: "tool" }, shortJson(args, maxDetail));
    } else if (payload.case === "toolCallGated") {
      const { toolCallId, key, tool, arguments: args, approvalId } = payload.value;
      started(toolCallId, { key, name: tool, kind: "tool" }, shortJson(args, maxDetail));
      const way =
        approvalId === "" ? "a kill switch is on" : `waits for an approval: signalbox approvals show ${approvalId}`;
      done(toolCallId, "…", way);
    } else if (payload.case === "toolCallDenied") {
      const { toolCallId, key, tool, arguments: args, error } = payload.value;
      started(toolCallId, { key, name: tool, kind: "tool" }, shortJson(args, maxDetail));
      done(toolCallId, "✗", errorText(error, maxDetail));
    } else if (payload.case === "toolCallSucceeded") {
      done(payload.value.toolCallId, "←", shortJson(payload.value.result, maxDetail));
    } else if (payload.case === "toolCallFailed") {
      done(payload.value.toolCallId, "✗", errorText(payload.value.error, maxDetail));
    } else return false;
    return true;
  }

  return {
    model: () => model,
    delta({ attempt: of, delta }) {
      if (delta === undefined || delta.text === "") return;
      const key = `${of} ${delta.stepKey}`;
      if (ended.has(key)) return;
      told.set(key, (told.get(key) ?? "") + delta.text);
      write(delta.text);
    },
    event(event) {
      const { payload } = event;
      const detail = timeline.since(event);
      if (payload.case === "runClaimed") attempt = payload.value.attempt;
      if (stepEvent(payload) || toolCallEvent(payload) || quiet.has(payload.case)) return;
      if (payload.case !== "runSucceeded") return line(detail);
      for (const citation of citationLines(valueToJson(payload.value.output))) line(citation);
    },
  };
}

/** `[1] Title  doc_01J… 0–310  score 0.63`. */
function citationLines(output: JsonValue | undefined): string[] {
  const citations = isObject(output) && Array.isArray(output["citations"]) ? output["citations"] : [];
  return citations.filter(isObject).map(({ number, title, documentId, start, end, score }) => {
    const near = typeof score === "number" ? score.toFixed(2) : "";
    return `[${text(number)}] ${shorten(text(title), 80)}  ${text(documentId)} ${text(start)}–${text(end)}  score ${near}`;
  });
}

/** An output that is an agent's as its text, any other as JSON. */
function shownText(output: JsonValue | undefined): string {
  if (output === undefined) return "";
  return shorten(textField(output, "text") ?? JSON.stringify(output), maxDetail);
}

function textField(value: JsonValue | undefined, name: string): string | undefined {
  const field = isObject(value) ? value[name] : undefined;
  return typeof field === "string" ? field : undefined;
}

function text(value: JsonValue | undefined): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function isObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
