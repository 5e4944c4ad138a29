import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Delta, DeltaSchema, type RunDelta, RunDeltaSchema } from "../../gen/signalbox/v1/delta_pb.ts";

/** The longest text of a joined piece, in UTF-16 code units: what one piece of a worker may have. */
const maxJoinedLength = 65_536;

/** Who makes output, and when it came. */
export interface DeltaSource {
  readonly runId: string;
  readonly attempt: number;
  readonly createTime: Date;
}

/** The pieces of one call as subscribers get them, in order, texts that follow on each other joined. Pure. */
export function toRunDeltas({ runId, attempt, createTime }: DeltaSource, deltas: readonly Delta[]): RunDelta[] {
  const pieces: RunDelta[] = [];
  for (const delta of deltas) {
    const piece = create(RunDeltaSchema, { runId, attempt, delta, createTime: timestampFromDate(createTime) });
    const joined = joinDeltas(pieces.at(-1), piece);
    if (joined === undefined) pieces.push(piece);
    else pieces[pieces.length - 1] = joined;
  }
  return pieces;
}

/**
 * Both pieces as one; undefined unless the second follows on the first without gap, both are nothing but text, and that
 * is not too long together. Pure.
 */
export function joinDeltas(first: RunDelta | undefined, second: RunDelta): RunDelta | undefined {
  const [before, after] = [first?.delta, second.delta];
  if (first === undefined || before === undefined || after === undefined) return undefined;
  if (deltaKey(first) !== deltaKey(second) || before.index + 1 !== after.index - second.joined) return undefined;
  if (before.data !== undefined || after.data !== undefined) return undefined;
  if (before.text.length + after.text.length > maxJoinedLength) return undefined;
  const { stepKey } = after;
  const delta = create(DeltaSchema, { stepKey, index: after.index, text: before.text + after.text });
  return { ...second, delta, joined: first.joined + second.joined + 1 };
}

/** Names what the indexes of a piece count. */
export function deltaKey({ runId, attempt, delta }: RunDelta): string {
  return `${runId}/${attempt}/${delta?.stepKey ?? ""}`;
}
