import { maxLineBytes } from "./event-line.ts";
import { BundleProblem } from "./problem.ts";

const lineBreak = 0x0a;

/** The lines of a file, each with its line break; the last one may lack it. Throws BundleProblem at one that is too long. */
export async function* linesOf(path: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  for await (const chunk of bytes) {
    let from = 0;
    for (let end = chunk.indexOf(lineBreak); end >= 0; end = chunk.indexOf(lineBreak, from)) {
      yield Buffer.concat([...kept, chunk.subarray(from, end + 1)]);
      kept = [];
      keptBytes = 0;
      from = end + 1;
    }
    if (from === chunk.length) continue;
    kept.push(chunk.subarray(from));
    keptBytes += chunk.length - from;
    if (keptBytes > maxLineBytes) {
      throw new BundleProblem("event", path, `${path} has a line of more than ${maxLineBytes} bytes`);
    }
  }
  if (keptBytes > 0) yield Buffer.concat(kept);
}
