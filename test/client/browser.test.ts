import { build } from "esbuild";
import { expect, test } from "vitest";

test("signalbox/client bundles for browsers without anything of Node", async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ["examples/browser.ts"],
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "esm",
  });
  const inputs = Object.keys(metafile.inputs);
  expect(outputFiles[0]?.text).toContain("createSignalboxClient");
  expect(inputs).toContain("src/client/browser.ts");
  expect(inputs.filter((path) => path.includes("connect-node") || path.startsWith("node:"))).toEqual([]);
});
