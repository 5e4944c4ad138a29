import { root } from "./command.ts";
import { generate } from "./generate.ts";

await generate(root);
