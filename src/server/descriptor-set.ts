import { type DescFile, type DescMessage, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** The files behind some services, findable by everything that they define. */
export interface DescriptorSet {
  /** The file with this name, followed by all that it imports, as serialized FileDescriptorProto; undefined if unknown. */
  fileByName(name: string): Uint8Array[] | undefined;
  /** The same for the file that defines this symbol: a type, method, field, oneof, enum value or extension. */
  fileBySymbol(symbol: string): Uint8Array[] | undefined;
  /** The same for the file that defines this extension. */
  fileByExtension(typeName: string, number: number): Uint8Array[] | undefined;
  /** The numbers of all extensions of a message, ascending; undefined if there is no such message. */
  extensionNumbers(typeName: string): number[] | undefined;
}

interface Definitions {
  readonly files: Map<string, DescFile>;
  readonly symbols: Map<string, DescFile>;
  /** Per extended message: the file of each extension, by number. */
  readonly extensions: Map<string, Map<number, DescFile>>;
  readonly messages: Set<string>;
}

/** Indexes the files of `services` and all that these import. */
export function createDescriptorSet(services: readonly DescService[]): DescriptorSet {
  const definitions: Definitions = { files: new Map(), symbols: new Map(), extensions: new Map(), messages: new Set() };
  for (const service of services) addFile(definitions, service.file);
  const { files, symbols, extensions, messages } = definitions;
  const serialized = new Map<DescFile, Uint8Array>();

  function serialize(file: DescFile): Uint8Array {
    let bytes = serialized.get(file);
    if (bytes === undefined) serialized.set(file, (bytes = toBinary(FileDescriptorProtoSchema, file.proto)));
    return bytes;
  }

  const withImports = (file: DescFile | undefined) => file && [...importsOf(file)].map(serialize);

  return {
    fileByName: (name) => withImports(files.get(name)),
    fileBySymbol: (symbol) => withImports(symbols.get(symbol)),
    fileByExtension: (typeName, number) => withImports(extensions.get(typeName)?.get(number)),
    extensionNumbers(typeName) {
      if (!messages.has(typeName)) return undefined;
      return [...(extensions.get(typeName)?.keys() ?? [])].toSorted((a, b) => a - b);
    },
  };
}

/** The file, then what it imports, each once. */
function importsOf(file: DescFile): Set<DescFile> {
  // A set visits what is added while it is walked.
  const found = new Set([file]);
  for (const { dependencies } of found) for (const dependency of dependencies) found.add(dependency);
  return found;
}

function addFile(definitions: Definitions, root: DescFile): void {
  for (const file of importsOf(root)) {
    const { name } = file.proto;
    if (definitions.files.has(name)) continue;
    definitions.files.set(name, file);
    addSymbols(definitions, file);
  }
}

function addSymbols({ symbols, extensions, messages }: Definitions, file: DescFile): void {
  for (const type of nestedTypes(file)) {
    symbols.set(type.typeName, file);
    switch (type.kind) {
      case "message":
        messages.add(type.typeName);
        for (const { name } of [...type.fields, ...type.oneofs]) symbols.set(`${type.typeName}.${name}`, file);
        break;
      case "service":
        for (const { name } of type.methods) symbols.set(`${type.typeName}.${name}`, file);
        break;
      case "enum":
        // The scope of an enum's values is that of the enum itself.
        for (const { name } of type.values) symbols.set(`${scopeOf(type.parent, file)}${name}`, file);
        break;
      case "extension": {
        const { typeName } = type.extendee;
        const numbers = extensions.get(typeName) ?? new Map<number, DescFile>();
        extensions.set(typeName, numbers.set(type.number, file));
        break;
      }
    }
  }
}

function scopeOf(parent: DescMessage | undefined, file: DescFile): string {
  const scope = parent?.typeName ?? file.proto.package;
  return scope === "" ? "" : `${scope}.`;
}
