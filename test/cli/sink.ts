import { Writable } from "node:stream";
import { createOutput, type Output } from "../../src/cli/output.ts";

/** A stream that remembers what was written to it. */
export interface Sink extends Writable {
  readonly text: () => string;
  isTTY?: boolean;
}

/** A stream that remembers what was written to it. */
export function createSink(options: { isTTY?: boolean } = {}): Sink {
  let written = "";
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written += chunk.toString();
      done();
    },
  });
  return Object.assign(stream, { text: () => written }, options);
}

/** An output whose streams can be read. */
export function createTestOutput(options: { json?: boolean; isTTY?: boolean } = {}) {
  const stdout = createSink();
  const stderr = createSink(options.isTTY === undefined ? {} : { isTTY: options.isTTY });
  let closed = false;
  const onClosed = () => {
    closed = true;
  };
  const output: Output = createOutput({ stdout, stderr, json: options.json ?? false, onClosed });
  return { output, stdout, stderr, isClosed: () => closed };
}
