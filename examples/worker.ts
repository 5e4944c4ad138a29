import { createWorker, HandlerError } from "signalbox/worker";

await using worker = createWorker({
  baseUrl: process.env["SIGNALBOX_URL"] ?? "http://127.0.0.1:8080",
  handlers: {
    greet: async (ctx, input) => {
      if (typeof input !== "string") throw new HandlerError("INVALID_INPUT", "give a name", { retryable: false });
      const name = await ctx.step("look-up", () => input.trim());
      return { greeting: `Hello, ${name}!`, attempt: ctx.attempt };
    },
  },
});
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
await worker.run(stop.signal);
