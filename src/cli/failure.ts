import { Code, ConnectError } from "@connectrpc/connect";
import { reasonOf } from "../client/reason.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { StackError } from "../stack/stack-error.ts";
import { CliError, type ExitCode, exitCodes } from "./cli-error.ts";
import { maskUrl } from "./mask.ts";
import type { Failure } from "./output.ts";
import { settingTable } from "./setting-table.ts";

/** Ways out that the messages themselves, written for every client, can not name. */
const hints: Record<string, string> = {
  UNAUTHENTICATED: "Set SIGNALBOX_TOKEN to the token of the server.",
  STORE_UNAVAILABLE: "signalbox doctor says what is wrong with it.",
  RUN_NOT_FOUND: "signalbox runs ls lists the runs of the workspace; --workspace chooses another one.",
  AGENT_NOT_FOUND: "signalbox agents ls lists the agents of the workspace; --workspace chooses another one.",
  QUEUE_NOT_FOUND: "signalbox queues ls lists the queues of the workspace; --workspace chooses another one.",
  SCHEDULE_NOT_FOUND: "signalbox schedules ls lists the schedules of the workspace; --workspace chooses another one.",
  SUITE_NOT_FOUND: "signalbox eval list lists the suites of the workspace; --workspace chooses another one.",
  EVALUATION_NOT_FOUND:
    "signalbox eval list --suite lists the evaluations of a suite; --workspace chooses another one.",
  SESSION_NOT_FOUND: "signalbox sessions ls lists the sessions of the workspace; --workspace chooses another one.",
  DOCUMENT_NOT_FOUND: "signalbox documents ls lists the documents of the workspace; --workspace chooses another one.",
  APPROVAL_NOT_FOUND: "signalbox approvals ls lists the approvals of the workspace; --workspace chooses another one.",
  ROOM_NOT_FOUND: "signalbox rooms ls lists the rooms of the workspace; --workspace chooses another one.",
  THREAD_NOT_FOUND: "signalbox rooms threads ls lists the threads of a room.",
  INCIDENT_NOT_FOUND: "signalbox incidents ls lists the incidents of the workspace; --workspace chooses another one.",
  POLICY_NOT_FOUND: "signalbox policy versions lists the versions.",
  TOOL_CALL_NOT_FOUND: "signalbox tool-calls ls lists the tool calls of the workspace or a run.",
  PAYLOAD_MISMATCH: "It has changed meanwhile: look at it again with signalbox approvals show.",
  APPROVAL_ALREADY_DECIDED: "signalbox approvals show shows who has decided what.",
  SELF_APPROVAL: "Somebody else has to: --as says who you are.",
  HANDLE_TAKEN: "Choose another one with --handle.",
  KILL_SWITCH_ON: "signalbox kill-switch status says who has switched it on, and why.",
  ARTIFACT_NOT_FOUND: "signalbox artifacts list lists the artifacts of the workspace; --workspace chooses another one.",
  ARTIFACT_EXPIRED:
    "signalbox artifacts show says since when, and whether signalbox artifacts restore can take it back.",
  ARTIFACT_CORRUPT: "Its producer has to store it again; signalbox incidents ls says what was found.",
  UPLOAD_NOT_FOUND: "Begin it again: an upload can be continued for 24 hours.",
  CHECKSUM_MISMATCH:
    "The file has changed, or was damaged on its way: repeat the command, with another --request-id if you gave one.",
  GRANT_NOT_FOUND: "signalbox artifacts grants lists the grants and links of an artifact.",
  RATE_LIMITED: "Wait a minute: SIGNALBOX_ACCESSES_PER_MINUTE is how often one caller may ask.",
  ETAG_MISMATCH: "Somebody has changed it meanwhile: look at it with `get`, then repeat the command.",
};

/** What an error means to the person who typed the command. `env` says which server was called. */
export function failureOf(error: unknown, env: NodeJS.ProcessEnv): Failure & { readonly exitCode: ExitCode } {
  if (error instanceof CliError) return { ...parts(error), hint: error.hint, exitCode: error.exitCode };
  if (error instanceof StackError) return { ...parts(error), hint: error.hint, exitCode: exitCodes.failed };
  if (error instanceof SignalboxError) return refused(error.message, error.reason);
  if (error instanceof ConnectError) {
    const reason = reasonOf(error);
    if (reason !== undefined) return refused(error.rawMessage, reason);
    if (error.code === Code.Unavailable) return unreachable(error, env);
    return { ...parts(error), message: `the call failed: ${error.message}`, hint: "", exitCode: exitCodes.failed };
  }
  const hint = "This is a defect of Signalbox: please report it with the command that you typed.";
  return { ...parts(error), hint, exitCode: exitCodes.failed };
}

/** True when the error only says that the signal has aborted. */
export function isInterruption(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  if (error instanceof ConnectError) return error.code === Code.Canceled;
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}

function parts(error: unknown): Pick<Failure, "message" | "reason"> {
  return { message: error instanceof Error ? error.message : String(error), reason: undefined };
}

function refused(message: string, reason: string): Failure & { exitCode: ExitCode } {
  const exitCode = reason === "STORE_UNAVAILABLE" || reason === "DRAINING" ? exitCodes.unreachable : exitCodes.failed;
  return { message, reason, hint: hints[reason] ?? "", exitCode };
}

function unreachable(error: ConnectError, env: NodeJS.ProcessEnv): Failure & { exitCode: ExitCode } {
  const { variable, fallback } = settingTable.url;
  const url = maskUrl(env[variable] ?? fallback);
  return {
    message: `no Signalbox answers at ${url}: ${error.rawMessage}`,
    hint: "Start one with `signalbox up` (npm start), or name another with --url or SIGNALBOX_URL.",
    reason: undefined,
    exitCode: exitCodes.unreachable,
  };
}
