import { ModelError } from "./model.ts";

/** More than any answer needs; a line without an end would be held in memory whole. */
const maxBodyBytes = 32 * 1024 * 1024;

/** `fetch` whose bodies fail with a ModelError once they are longer than 32 MiB, and which follows no redirect. */
export const limitedFetch: typeof fetch = async (input, init) => {
  // A redirect would take the key and the conversation to somebody else.
  const response = await fetch(input, { ...init, redirect: "manual" });
  if (response.body === null) return response;
  let bytes = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > maxBodyBytes) {
        controller.error(
          new ModelError("MODEL_BAD_ANSWER", `sent more than ${maxBodyBytes} bytes`, { retryable: false }),
        );
      } else controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(counting), { status, statusText, headers });
};
