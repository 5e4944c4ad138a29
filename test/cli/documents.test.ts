import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { newWorkspaceId, openInstallation } from "../support/installation.ts";
import { until } from "../support/until.ts";
import { createCommands } from "./commands.ts";
import { spawnSignalbox } from "./signalbox.ts";

const installation = await openInstallation();
afterAll(() => installation[Symbol.asyncDispose]());
const workspaceId = newWorkspaceId();
const { run, text, json, list } = createCommands(installation.url, workspaceId);

interface JsonDocument {
  readonly documentId: string;
  readonly title: string;
}

/** What a search finds once it finds something. */
async function found(...args: string[]): Promise<JsonDocument[]> {
  let citations: JsonDocument[] = [];
  await until(
    async () => {
      citations = await list<JsonDocument>("documents", "search", ...args);
      return citations.length > 0;
    },
    { what: `documents search ${args.join(" ")} to find something` },
  );
  return citations;
}

test("add takes several files, search finds their pieces, delete takes them out", async () => {
  await using folder = await temporaryFolder();
  const [ferry, bakery] = [join(folder.path, "ferry.md"), join(folder.path, "bakery.md")];
  await writeFile(ferry, "The ferry to the island leaves at seven in the morning.\n");
  await writeFile(bakery, "The bakery sells bread and rolls.\n");
  const options = ["--collection", "town", "--metadata", "source=walk"];
  const added = await list<JsonDocument>("documents", "add", ferry, bakery, ...options);
  expect(added).toMatchObject([{ title: "ferry.md", metadata: { source: "walk" } }, { title: "bakery.md" }]);

  const question = ["When does the ferry leave?", "--collection", "town", "--limit", "1"];
  const [citation] = await found(...question);
  expect(citation).toMatchObject({ documentId: added[0]?.documentId, title: "ferry.md" });
  const told = await text("documents", "search", ...question);
  expect(told).toMatch(/^0\.\d\d  ferry\.md  doc_\w+ 0–\d+\n {6}The ferry to the island leaves at seven/);

  const documentId = added[0]?.documentId ?? "";
  expect(await text("documents", "get", documentId)).toMatch(/title +ferry\.md[^]*\n\nThe ferry to the island/);
  expect(await text("documents", "ls", "--collection", "town")).toMatch(/town +bakery\.md +34 +1 /);
  await json("documents", "delete", documentId);
  const left = () => list<JsonDocument>("documents", "list", "--collection", "town");
  await until(async () => (await left()).length === 1, { what: "the list to leave out the deleted document" });
});

test("add takes stdin, once for one --request-id", async () => {
  const env = { SIGNALBOX_URL: installation.url, SIGNALBOX_WORKSPACE: workspaceId };
  const args = ["documents", "add", "-", "--title", "Note", "--request-id", "note-1", "--json"];
  const first = await spawnSignalbox(args, env, "The kettle is on the shelf.");
  const second = await spawnSignalbox(args, env, "The kettle is on the shelf.");
  const { documentId, title } = JSON.parse(first.stdout) as JsonDocument;
  expect(title).toBe("Note");
  expect(JSON.parse(second.stdout)).toMatchObject({ documentId });
});

test("add says which file could not be added, and what was added before it", async () => {
  await using folder = await temporaryFolder();
  const [good, bad] = [join(folder.path, "good.txt"), join(folder.path, "bad.bin")];
  await writeFile(good, "A text.");
  await writeFile(bad, Uint8Array.of(0xff, 0xfe, 0x00));
  const outcome = await run("documents", "add", good, bad);
  expect(outcome).toMatchObject({ code: exitCodes.usage, stdout: expect.stringContaining("good.txt") as unknown });
  expect(outcome.stderr).toContain(`1 of 2 were added; ${bad} was not\nerror: ${bad} is no text in UTF-8`);
  const missing = await run("documents", "add", join(folder.path, "none"));
  expect(missing).toMatchObject({ code: exitCodes.usage, stderr: expect.stringContaining("ENOENT") as unknown });
  const titled = await run("documents", "add", good, bad, "--title", "Both");
  expect(titled).toMatchObject({
    code: exitCodes.usage,
    stderr: expect.stringContaining("--title is for one") as unknown,
  });
});

test("search says when nothing was found", async () => {
  expect(await text("documents", "search", "anything", "--collection", "empty")).toBe("nothing was found\n");
});

test("a document that is not there is named with the way out", async () => {
  const { code, stderr } = await run("documents", "get", "doc_01ARZ3NDEKTSV4RRFFQ69G5FAV");
  expect(code).toBe(exitCodes.failed);
  expect(stderr).toMatch(/\(DOCUMENT_NOT_FOUND\)\nhint: signalbox documents ls/);
});
