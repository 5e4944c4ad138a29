import { readdir } from "node:fs/promises";
import type { DescField, DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";

async function readServices(): Promise<DescService[]> {
  const folder = new URL("../../gen/signalbox/v1/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith("_service_pb.ts"));
  const modules = await Promise.all(names.map((name) => import(new URL(name, folder).href) as Promise<object>));
  return modules.flatMap((module) => Object.values(module).filter(isService));
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

/** Every method of every service of the contract, found in what is generated from it: a new one needs no entry here. */
export const methods: readonly DescMethod[] = (await readServices()).flatMap((service) => service.methods);

/** `RunService/GetRun`. */
export function pathOf({ parent, name }: DescMethod): string {
  return `${parent.name}/${name}`;
}

/** The fields from a request down to one of its values. */
export type FieldPath = readonly DescField[];

/** The paths to every text field of a message that `wanted` takes, through messages, each kind of message once. */
export function textFields(message: DescMessage, wanted: (field: DescField) => boolean): FieldPath[] {
  return walk(message, wanted, []);
}

function walk(message: DescMessage, wanted: (field: DescField) => boolean, above: readonly DescMessage[]): FieldPath[] {
  return message.fields.flatMap((field): FieldPath[] => {
    if (field.fieldKind === "scalar") return wanted(field) ? [[field]] : [];
    if (field.fieldKind !== "message" || above.includes(field.message)) return [];
    return walk(field.message, wanted, [...above, message]).map((path) => [field, ...path]);
  });
}

/** `filter.run_id`. */
export function nameOf(path: FieldPath): string {
  return path.map(({ name }) => name).join(".");
}
