import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

/** A request that the provider got. */
export interface ProviderRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly model: string;
  readonly input: readonly string[];
}

/** What the provider answers a request with; undefined for silence. */
export type Answer = { readonly status: number; readonly body: string } | undefined;

/** An OpenAI-compatible API for embeddings on this machine. */
export interface Provider extends AsyncDisposable {
  readonly url: string;
  readonly requests: ProviderRequest[];
}

/** Starts one; `answer` says what the n-th request, from 0, gets. */
export async function openProvider(answer: (request: ProviderRequest, n: number) => Answer): Promise<Provider> {
  const requests: ProviderRequest[] = [];
  const server = createServer((request, response) => void serve(request, response));
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests.push(await read(request));
    const answered = answer(requests.at(-1)!, requests.length - 1);
    if (answered !== undefined)
      response.writeHead(answered.status, { "content-type": "application/json" }).end(answered.body);
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function read(request: IncomingMessage): Promise<ProviderRequest> {
  const { model, input } = (await json(request)) as { model: string; input: string[] };
  return { path: request.url ?? "", authorization: request.headers.authorization, model, input };
}

/** What a provider says that has understood: the vectors in whatever order. */
export function embeddings(vectors: readonly (readonly number[])[]): Answer {
  const data = vectors.map((embedding, index) => ({ object: "embedding", index, embedding })).toReversed();
  return { status: 200, body: JSON.stringify({ object: "list", data }) };
}

/** A vector of two dimensions that says how many letters `a` and how many others there are. */
export function countingVector(text: string): number[] {
  const as = text.split("a").length - 1;
  return [as, text.length - as];
}
