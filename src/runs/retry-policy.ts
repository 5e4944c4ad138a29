import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { OnExhausted, type RetryPolicy, RetryPolicySchema } from "../../gen/signalbox/v1/run_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

const defaults = { maxAttempts: 3, initialBackoffMs: 1_000, backoffMultiplier: 2, maxBackoffMs: 60_000 };

/** The policy with every default filled in: 3 attempts, from 1 s, doubling, at most 1 minute, then failed. INVALID_REQUEST when the cap is below the start. */
export function completeRetryPolicy(policy: RetryPolicy | undefined): RetryPolicy {
  const initialMs = policy?.initialBackoff ? durationMs(policy.initialBackoff) : defaults.initialBackoffMs;
  const capMs = policy?.maxBackoff ? durationMs(policy.maxBackoff) : Math.max(defaults.maxBackoffMs, initialMs);
  if (capMs < initialMs) {
    throw new SignalboxError("INVALID_REQUEST", "retry_policy.max_backoff is shorter than initial_backoff");
  }
  return create(RetryPolicySchema, {
    maxAttempts: policy?.maxAttempts || defaults.maxAttempts,
    initialBackoff: durationFromMs(initialMs),
    backoffMultiplier: policy?.backoffMultiplier || defaults.backoffMultiplier,
    maxBackoff: durationFromMs(capMs),
    nonRetryableCodes: policy?.nonRetryableCodes ?? [],
    onExhausted: policy?.onExhausted || OnExhausted.FAIL,
  });
}
