import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { toConnectError } from "../kernel/errors.ts";
import type { EdgeResponse } from "./request.ts";

/** Answers with `value` as JSON. */
export function sendJson(response: EdgeResponse, status: number, value: unknown): void {
  send(response, status, "application/json", `${JSON.stringify(value)}\n`);
}

/** Answers with an error as Connect writes it: code, message and ErrorInfo; `status` where HTTP has a better word for it. */
export function sendError(response: EdgeResponse, error: unknown, status?: number): void {
  const answer = toConnectError(error);
  sendJson(response, status ?? codeToHttpStatus(answer.code), errorToJson(answer, undefined));
}

/** Answers with `text`. */
export function send(response: EdgeResponse, status: number, contentType: string, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", contentType);
  response.setHeader("x-content-type-options", "nosniff");
  response.end(text);
}
