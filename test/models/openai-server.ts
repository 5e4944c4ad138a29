import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { once } from "node:events";

/** What the server got. */
export interface ReceivedRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: {
    readonly model: string;
    readonly stream?: boolean;
    readonly messages: readonly { readonly role: string; readonly content: unknown; readonly tool_calls?: unknown }[];
    readonly tools?: readonly { readonly function: { readonly name: string; readonly parameters: unknown } }[];
  };
}

/** Answers one request. */
export type Answer = (response: ServerResponse, request: ReceivedRequest) => void | Promise<void>;

/** A server that speaks OpenAI's chat completions, on loopback. */
export interface OpenAiServer extends AsyncDisposable {
  /** With the `/v1` at its end. */
  readonly baseUrl: string;
  /** Every request so far, oldest first. */
  readonly requests: readonly ReceivedRequest[];
}

/** Answers one request after the other; the last answer is repeated. A function decides by the request. */
export async function openOpenAiServer(...answers: readonly Answer[]): Promise<OpenAiServer> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((request, response) => void handle(request, response));
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await json(request)) as ReceivedRequest["body"];
    const received = { path: request.url ?? "", authorization: request.headers.authorization, body };
    requests.push(received);
    await answers[Math.min(requests.length, answers.length) - 1]?.(response, received);
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A call of a tool as it comes in a stream: the arguments in pieces. */
export interface StreamedCall {
  readonly id: string;
  readonly name: string;
  readonly args: string;
}

/** How an answer is streamed. */
export interface StreamedAnswer {
  /** The text in the pieces in which it comes. */
  readonly pieces?: readonly string[];
  readonly calls?: readonly StreamedCall[];
  readonly finish?: string;
  /** Left out with `null`, as some servers do. */
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  /** Breaks the connection after the pieces. */
  readonly cut?: boolean;
  /** Waited for before each piece. */
  readonly before?: () => Promise<void>;
}

/** Streams an answer as server-sent events. */
export function streamed(answer: StreamedAnswer): Answer {
  const { pieces = [], calls = [], cut = false, usage = { prompt_tokens: 11, completion_tokens: 7 } } = answer;
  return async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const content of pieces) {
      await answer.before?.();
      send(response, { choices: [{ index: 0, delta: { role: "assistant", content } }] });
    }
    if (cut) {
      // What was written must get out before the connection breaks.
      await new Promise((resolve) => setImmediate(resolve));
      response.socket?.destroySoon();
      return;
    }
    for (const [index, { id, name, args }] of calls.entries()) {
      const half = Math.ceil(args.length / 2);
      sendCall(response, { index, id, type: "function", function: { name, arguments: args.slice(0, half) } });
      sendCall(response, { index, function: { arguments: args.slice(half) } });
    }
    const reason = answer.finish ?? (calls.length > 0 ? "tool_calls" : "stop");
    send(response, { choices: [{ index: 0, delta: {}, finish_reason: reason }] });
    if (usage !== null) send(response, { choices: [], usage });
    response.end("data: [DONE]\n\n");
  };
}

/** Refuses with an HTTP status, as OpenAI does. */
export function refuses(status: number, message: string, headers: Record<string, string> = {}, code = ""): Answer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify({ error: { message, type: "error", code } }));
  };
}

/** Answers with a body of any kind. */
export function says(body: string, contentType: string): Answer {
  return (response) => {
    response.writeHead(200, { "content-type": contentType });
    response.end(body);
  };
}

/** Never answers. */
export const hangs: Answer = () => {};

function sendCall(response: ServerResponse, call: object): void {
  send(response, { choices: [{ index: 0, delta: { tool_calls: [call] } }] });
}

function send(response: ServerResponse, chunk: object): void {
  const whole = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "tiny", ...chunk };
  response.write(`data: ${JSON.stringify(whole)}\n\n`);
}
