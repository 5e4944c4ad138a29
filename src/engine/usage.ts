import type { MessageInitShape } from "@bufbuild/protobuf";
import type { UsageSchema } from "../../gen/signalbox/v1/common_pb.ts";

/** What work has consumed; every field adds up. */
export interface UsageAmounts {
  /** Model tokens read. */
  readonly inputTokens?: number;
  /** Model tokens written. */
  readonly outputTokens?: number;
  /** Cost in millionths of the installation's currency. */
  readonly costMicros?: number;
}

/** A sum of usage, and the way to add to it. */
export interface UsageMeter {
  /** Adds whole amounts of 0 or more. Throws a RangeError for others. */
  add(amounts: UsageAmounts): void;
  /** The sum; undefined when nothing was added. */
  total(): MessageInitShape<typeof UsageSchema> | undefined;
}

/** A meter at zero. */
export function createUsageMeter(): UsageMeter {
  const sum = { inputTokens: 0n, outputTokens: 0n, costMicros: 0n };
  let used = false;
  return {
    add({ inputTokens = 0, outputTokens = 0, costMicros = 0 }) {
      for (const amount of [inputTokens, outputTokens, costMicros]) {
        if (!Number.isSafeInteger(amount) || amount < 0)
          throw new RangeError(`usage is whole and not negative; got ${amount}`);
      }
      used = true;
      sum.inputTokens += BigInt(inputTokens);
      sum.outputTokens += BigInt(outputTokens);
      sum.costMicros += BigInt(costMicros);
    },
    total: () => (used ? sum : undefined),
  };
}
