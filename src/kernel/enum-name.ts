import type { DescEnum } from "@bufbuild/protobuf";

/** The name of an enum value without the enum's prefix, or its number when this program does not know it. */
export function enumName(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName ?? String(value);
}
