import { posix } from "node:path";
import { parseAst } from "vitest/node";

/** A module as the rules see it. Lines count from 1. */
export interface Module {
  /** From the repository's root, with forward slashes. */
  path: string;
  lineCount: number;
  imports: Import[];
  /** `console.log`, `Math.random`, `new Date()` (without arguments only) and calls such as `ulid()`. */
  uses: Use[];
}

/** One import, re-export, dynamic import or `import("…")` type. */
export interface Import {
  /** From the repository's root when relative, else as written. */
  target: string;
  /** True when nothing of it is left at run time. */
  typeOnly: boolean;
  line: number;
}

/** An expression or declaration worth a rule, as text. */
export interface Use {
  text: string;
  line: number;
}

interface Node extends Record<string, unknown> {
  type: string;
  start: number;
}

/**
 * Reads a TypeScript module's imports and uses from its syntax tree, so that comments and strings never count.
 * @throws an error naming `path` when `text` does not parse.
 */
export function scanModule(path: string, text: string): Module {
  const module: Module = { path, lineCount: text.trimEnd().split("\n").length, imports: [], uses: [] };
  const lineOf = (node: Node): number => text.slice(0, node.start).split("\n").length;
  visit(parse(path, text), (node) => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) {
      const target = specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : specifier;
      module.imports.push({ target, typeOnly: isTypeOnly(node), line: lineOf(node) });
    }
    const use = useOf(node);
    if (use !== undefined) module.uses.push({ text: use, line: lineOf(node) });
  });
  return module;
}

function parse(path: string, text: string): unknown {
  try {
    return parseAst(text, { lang: "ts" });
  } catch (error) {
    throw new Error(`${path} does not parse`, { cause: error });
  }
}

function visit(value: unknown, enter: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) visit(item, enter);
  } else if (isNode(value)) {
    enter(value);
    for (const child of Object.values(value)) visit(child, enter);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

function specifierOf(node: Node): string | undefined {
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportAllDeclaration":
    case "ExportNamedDeclaration":
    case "ImportExpression":
    case "TSImportType":
      return isNode(node["source"]) && typeof node["source"]["value"] === "string"
        ? node["source"]["value"]
        : undefined;
    default:
      return undefined;
  }
}

function isTypeOnly(node: Node): boolean {
  if (node.type === "TSImportType" || node["importKind"] === "type" || node["exportKind"] === "type") return true;
  const specifiers = Array.isArray(node["specifiers"]) ? node["specifiers"].filter(isNode) : [];
  const kinds = specifiers.map((specifier) => specifier["importKind"] ?? specifier["exportKind"]);
  return kinds.length > 0 && kinds.every((kind) => kind === "type");
}

function useOf(node: Node): string | undefined {
  switch (node.type) {
    case "ExportDefaultDeclaration":
      return "export default";
    case "ExportSpecifier":
      return nameOf(node["exported"]) === "default" ? "export default" : undefined;
    case "MemberExpression":
      return (
        nameOf(node["object"]) && nameOf(node["property"]) && `${nameOf(node["object"])}.${nameOf(node["property"])}`
      );
    case "NewExpression":
      return Array.isArray(node["arguments"]) && node["arguments"].length === 0 && nameOf(node["callee"])
        ? `new ${nameOf(node["callee"])}()`
        : undefined;
    case "CallExpression":
      return nameOf(node["callee"]) && `${nameOf(node["callee"])}()`;
    default:
      return undefined;
  }
}

function nameOf(value: unknown): string | undefined {
  return isNode(value) && value.type === "Identifier" && typeof value["name"] === "string" ? value["name"] : undefined;
}
