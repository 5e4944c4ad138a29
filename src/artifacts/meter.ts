import { createHash } from "node:crypto";

/** How many bytes went by, and which. */
export interface Measured {
  readonly sizeBytes: number;
  /** In lower-case hex. */
  readonly sha256: string;
}

/** What is expected of bytes that go by. */
export interface MeterRules {
  /** How many there may be. */
  readonly maxBytes: number;
  /** The error for the first byte beyond; `actualBytes` is how many there are at least. */
  exceeded(actualBytes: number): Error;
  /** Looks at all of them at their end, before the reader learns that it is the end. What it throws comes through. */
  verify?(measured: Measured): void;
}

/** Counts and hashes bytes on their way. */
export interface Meter {
  /** The same bytes, in the same pieces; no further than the rules allow. To be called once. */
  through(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  /** What went by. Throws before the end. */
  measured(): Measured;
}

/** A meter that nothing went through yet. */
export function createMeter(rules: MeterRules): Meter {
  let result: Measured | undefined;
  return {
    async *through(bytes) {
      const hash = createHash("sha256");
      let sizeBytes = 0;
      for await (const piece of bytes) {
        sizeBytes += piece.length;
        if (sizeBytes > rules.maxBytes) throw rules.exceeded(sizeBytes);
        hash.update(piece);
        yield piece;
      }
      const measured = { sizeBytes, sha256: hash.digest("hex") };
      rules.verify?.(measured);
      result = measured;
    },
    measured() {
      if (result === undefined) throw new Error("the bytes have not all gone by");
      return result;
    },
  };
}

/** Lets all bytes go by and keeps none. Returns what they were. */
export async function measure(bytes: AsyncIterable<Uint8Array>, rules: MeterRules): Promise<Measured> {
  const meter = createMeter(rules);
  for await (const _ of meter.through(bytes));
  return meter.measured();
}
