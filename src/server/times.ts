import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";

/** The years 1 to 9999, in seconds since 1970, as timestamp.proto has it. */
const firstSecond = -62_135_596_800n;
const lastSecond = 253_402_300_799n;
/** 10,000 years, as duration.proto has it. */
const longestSeconds = 315_576_000_000n;
const maxNanos = 999_999_999;

/**
 * Names the first time or duration in a message that is out of its range, and says why; undefined when there is none. The
 * binary form holds more than JSON and the read models do, and an event that they can not hold stops them for good.
 */
export function badTimeIn(desc: DescMessage, message: Message): string | undefined {
  return holdsTimes(desc) ? badIn(reflect(desc, message)) : undefined;
}

function badIn(value: ReflectMessage): string | undefined {
  if (value.desc.typeName === TimestampSchema.typeName) {
    return isTime(value.message as Timestamp) ? undefined : ": is no time of the years 1 to 9999";
  }
  if (value.desc.typeName === DurationSchema.typeName) {
    return isDuration(value.message as Duration) ? undefined : ": is no duration of up to 10,000 years";
  }
  for (const field of fieldsWithTimes(value.desc)) {
    if (!value.isSet(field)) continue;
    for (const [place, inner] of messagesOf(value, field)) {
      const bad = badIn(inner);
      if (bad !== undefined) return `${field.name}${place}${bad.startsWith(":") ? "" : "."}${bad}`;
    }
  }
  return undefined;
}

function isTime({ seconds, nanos }: Timestamp): boolean {
  return seconds >= firstSecond && seconds <= lastSecond && nanos >= 0 && nanos <= maxNanos;
}

function isDuration({ seconds, nanos }: Duration): boolean {
  const sameSign = seconds === 0n || nanos === 0 || seconds > 0n === nanos > 0;
  return sameSign && seconds >= -longestSeconds && seconds <= longestSeconds && Math.abs(nanos) <= maxNanos;
}

const known = new Map<DescMessage, readonly DescField[]>();

/** The fields of a kind of message that hold times, however deep. */
function fieldsWithTimes(desc: DescMessage): readonly DescField[] {
  const found = known.get(desc);
  if (found !== undefined) return found;
  // Ends at a message that holds itself. Of those there is google.protobuf.Value only, which has no times.
  known.set(desc, []);
  const fields = desc.fields.filter((field) => {
    const inner = field.fieldKind === "scalar" || field.fieldKind === "enum" ? undefined : field.message;
    return inner !== undefined && holdsTimes(inner);
  });
  known.set(desc, fields);
  return fields;
}

function holdsTimes(desc: DescMessage): boolean {
  const isTimeItself = desc.typeName === TimestampSchema.typeName || desc.typeName === DurationSchema.typeName;
  return isTimeItself || fieldsWithTimes(desc).length > 0;
}

function messagesOf(value: ReflectMessage, field: DescField): Iterable<readonly [place: string, ReflectMessage]> {
  switch (field.fieldKind) {
    case "message":
      return [["", value.get(field)]];
    case "list":
      return Array.from(value.get(field) as Iterable<ReflectMessage>, (item, index) => [`[${index}]`, item]);
    case "map":
      return Array.from(value.get(field) as Iterable<[unknown, ReflectMessage]>, ([key, item]) => [
        `[${String(key)}]`,
        item,
      ]);
    case "scalar":
    case "enum":
      return [];
  }
}
